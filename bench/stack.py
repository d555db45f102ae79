"""Measure `stack validate` and `stack render` relative to `docker stack config`, on the same file in the same run.

    .venv.dev/bin/python bench/stack.py [RUNS]

The startup of Python is included. The project's own stack may take 5 times docker's time, a generated stack of 1,000
services at most docker's time; from 1,000 to 10,000 services the time must grow linearly.
"""

import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = str(ROOT / ".venv" / "bin" / "python")
COMMAND = [PYTHON, "-I", "-X", "utf8", str(ROOT / "src/openbalena/__main__.py"), "stack"]
OWN_LIMIT, GENERATED_LIMIT, GROWTH_LIMIT = 5.0, 1.0, 12.0


def generated(services: int) -> str:
    """A stack with that many services, with common keys."""
    lines = ["services:"]
    for number in range(services):
        lines.append(
            f"""  s{number}:
    image: nginx:1.{number}
    environment:
      A: "${{X:-{number}}}"
      B: two
    ports:
      - "{10000 + number}:80"
    volumes:
      - d{number}:/data
    deploy:
      replicas: 2
      resources:
        limits: {{memory: 1G}}
    healthcheck:
      test: [CMD, "true"]
      interval: 10s"""
        )
    return "\n".join([*lines, "volumes:", *(f"  d{number}: {{}}" for number in range(services))]) + "\n"


def seconds(command: list[str]) -> float:
    """The CPU time of one run, which is independent of other load on the machine."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(path: Path, runs: int) -> dict[str, float]:
    """The minimum CPU time of each command on `path`, in seconds, over interleaved runs."""
    commands = {
        "docker stack config": ["docker", "stack", "config", "-c", str(path)],
        "stack validate": [*COMMAND, "validate", str(path)],
        "stack render": [*COMMAND, "render", "-f", str(path)],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            times[name].append(seconds(command))
    return {name: min(values) for name, values in times.items()}


def main() -> int:
    """Exit status 1 if a limit is exceeded, 2 without docker."""
    if not shutil.which("docker"):
        print("docker is not on PATH", file=sys.stderr)
        return 2
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    exceeded = False
    with tempfile.TemporaryDirectory() as directory:
        stacks = {"own": ROOT / "docker-stack.yml"}
        for services in (1000, 10000):
            stacks[str(services)] = Path(directory) / f"{services}.yml"
            stacks[str(services)].write_text(generated(services))
        results = {name: measure(path, runs if name != "10000" else 1) for name, path in stacks.items()}
    for name, times in results.items():
        docker = times.pop("docker stack config")
        for command, time in times.items():
            limit = OWN_LIMIT if name == "own" else GENERATED_LIMIT
            exceeded |= time / docker > limit
            ratio = f"ratio {time / docker:4.2f} (at most {limit})"
            print(f"{name:>6} {command:15} {time:6.2f} s, docker {docker:6.2f} s: {ratio}")
    for command in ("stack validate", "stack render"):
        growth = results["10000"][command] / results["1000"][command]
        exceeded |= growth > GROWTH_LIMIT
        print(f"{command}: 10,000 services take {growth:.1f} times as long as 1,000 (at most {GROWTH_LIMIT})")
    return int(exceeded)


if __name__ == "__main__":
    sys.exit(main())

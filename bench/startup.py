"""Measure the startup time of the command line, compared with `docker --help` and bare Python.

    .venv.dev/bin/python bench/startup.py [RUNS]

Prints the median and minimum of RUNS (default 40) interleaved runs of each, in milliseconds, the launcher's overhead,
and the ratio that matters: `./open-balena.sh help` may take at most 5 times as long as `docker --help`.
"""

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = str(ROOT / ".venv" / "bin" / "python")
LIMIT = 5.0


def milliseconds(command: list[str]) -> float:
    """One run of `command`, from fork to exit."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * 1000


def main() -> int:
    """Exit status 1 if `help` exceeds the limit."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    launcher = str(ROOT / "open-balena.sh")
    subprocess.run([launcher, "--version"], check=True)
    commands = {
        "launcher: help": [launcher, "help"],
        "launcher: swarm-logs --help": [launcher, "swarm-logs", "--help"],
        "without launcher: help": [PYTHON, "-I", "-X", "utf8", str(ROOT / "src/openbalena/__main__.py"), "help"],
        "bare Python": [PYTHON, "-I", "-c", ""],
        "bash": ["bash", "-c", ":"],
    }
    if shutil.which("docker"):
        commands["docker --help"] = ["docker", "--help"]
    times: dict[str, list[float]] = {name: [] for name in commands}
    # Interleaved, so that load on the machine affects all of them.
    for _ in range(runs):
        for name, command in commands.items():
            times[name].append(milliseconds(command))
    for name, values in times.items():
        print(f"{name:28} median {statistics.median(values):6.1f} ms   minimum {min(values):6.1f} ms")
    overhead = min(times["launcher: help"]) - min(times["without launcher: help"])
    print(f"{'launcher overhead':28} {overhead:13.1f} ms")
    if "docker --help" not in times:
        return 0
    ratio = statistics.median(times["launcher: help"]) / statistics.median(times["docker --help"])
    print(f"{'help / docker --help':28} {ratio:13.1f} (limit {LIMIT})")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())

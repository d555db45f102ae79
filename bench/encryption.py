"""What encryption costs between two engines: the same transfers over an encrypted overlay network and over a plain one.

    sudo .venv.dev/bin/python bench/encryption.py [RUNS]

Runs tests/uml's machine, a kernel with ESP that is one process on one CPU, and a second engine in it; takes some
minutes. Both ends of the wire, and both ends' encryption, share that CPU, so the rates are no machine's. Writes the
median of RUNS (default 5) interleaved runs of each, and their ratio, into docs/docker-swarm-deployment.md.
"""

import os
import platform
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests" / "uml"), str(ROOT / "tests" / "shared")]

import second_node  # noqa: E402
import uml_machine  # noqa: E402
from swarm_project import Small, fetch_busybox  # noqa: E402
from waiting import answer  # noqa: E402

from openbalena.files import write_atomic  # noqa: E402

IMAGE = "busybox:1"
PAGE = ROOT / "docs" / "docker-swarm-deployment.md"
# What stands between these is this script's.
BEGIN, END = "<!-- written by bench/encryption.py -->\n", "<!-- end -->\n"
MEGABYTES, REQUESTS = 512, 200
NETWORKS = {"plain": (), "encrypted": ("--opt", "encrypted")}


def seconds(machine: uml_machine.Machine, network: str, script: str) -> float:
    """How long `script` takes in the client's container on `network`."""
    begin = time.monotonic()
    machine.engine.docker("exec", f"client-{network}", "sh", "-ec", script, timeout=300)
    return time.monotonic() - begin


def measure(machine: uml_machine.Machine, second: second_node.Second, runs: int) -> dict[str, dict[str, float]]:
    """The median seconds of each transfer on each network, an empty script's time taken off."""
    serve = f"mkdir /www; head -c {MEGABYTES}000000 /dev/zero >/www/large; echo >/www/small; exec httpd -f -h /www"
    for network, options in NETWORKS.items():
        machine.engine.docker("network", "create", "--driver", "overlay", "--attachable", *options, network)
        started = ("--detach", "--network", network, "--name", f"client-{network}", IMAGE, "sleep", "100000")
        machine.engine.docker("run", *started)
        second.docker(f"run --detach --network {network} --name server-{network} {IMAGE} sh -c '{serve}'")
    loop = "n={}; while [ $n -gt 0 ]; do n=$((n - 1)); {}; done"
    get = "wget -q -O /dev/null http://server-{}/{}"
    scripts = {
        "nothing": "true",
        f"{MEGABYTES} MB in one": get.format("{0}", "large"),
        f"{REQUESTS} small requests": loop.format(REQUESTS, get.format("{0}", "small")),
    }
    for network in NETWORKS:
        answer(lambda name=network: machine.engine.docker("exec", f"client-{name}", *get.format(name, "large").split()))
    times: dict[str, dict[str, list[float]]] = {what: {name: [] for name in NETWORKS} for what in scripts}
    for _ in range(runs):
        for what, script in scripts.items():
            for network in NETWORKS:
                times[what][network].append(seconds(machine, network, script.replace("{0}", network)))
    found = {what: {name: statistics.median(taken) for name, taken in each.items()} for what, each in times.items()}
    idle = found.pop("nothing")
    return {what: {name: taken - idle[name] for name, taken in each.items()} for what, each in found.items()}


def table(found: dict[str, dict[str, float]], runs: int) -> str:
    """What was measured, in Markdown, with the machine."""
    rows = [
        f"| {what} | {each['plain']:.2f} s | {each['encrypted']:.2f} s | {each['encrypted'] / each['plain']:.1f} |\n"
        for what, each in found.items()
    ]
    return (
        f"\nMedian of {runs} runs, both engines in one user-mode kernel on one of {os.cpu_count()} CPUs "
        f"({platform.machine()}, Linux {platform.release()}):\n\n"
        "| transfer | plain | encrypted | ratio |\n|---|---|---|---|\n" + "".join(rows) + "\n"
    )


def main() -> int:
    """Exit status 0."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        for name in ("busybox", "small", "machine"):
            (directory / name).mkdir()
        small = Small(directory / "small", fetch_busybox(directory / "busybox"))
        with uml_machine.booted(directory / "machine") as machine:
            machine.load(small.image_root, IMAGE)
            machine.reach_in(IMAGE)
            machine.engine.docker("swarm", "init", "--advertise-addr", machine.address)
            with second_node.second_node(machine, IMAGE) as second:
                found = measure(machine, second, runs)
    page = PAGE.read_text(encoding="utf-8")
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    write_atomic(PAGE, re.sub(pattern, lambda _: BEGIN + table(found, runs) + END, page, count=1, flags=re.DOTALL))
    print(table(found, runs), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())

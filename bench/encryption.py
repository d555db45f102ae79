"""Measure the cost of encryption between two engines: the same transfers over an encrypted and a plain overlay network.

    sudo .venv.dev/bin/python bench/encryption.py [RUNS]

Boots the machine of tests/uml, a kernel with ESP that is one process on one CPU, with a second engine; takes a few
minutes. Both ends of the connection, and their encryption, share that CPU, so the absolute rates are not
representative. Writes the median of RUNS (default 5) interleaved runs of each, and their ratio, to
docs/docker-swarm-deployment.md.
"""

import os
import platform
import re
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests" / "shared")]

import second_node  # noqa: E402
import uml_machine  # noqa: E402
from swarm_project import Small, fetch_busybox  # noqa: E402
from waiting import answer  # noqa: E402

from openbalena.base.files import write_atomic  # noqa: E402

IMAGE = "busybox:1"
PAGE = ROOT / "docs" / "docker-swarm-deployment.md"
# This script replaces the text between these.
BEGIN, END = "<!-- written by bench/encryption.py -->\n", "<!-- end -->\n"
MEGABYTES, REQUESTS = 512, 200
NETWORKS = {"plain": (), "encrypted": ("--opt", "encrypted")}


def seconds(machine: uml_machine.Machine, network: str, script: str) -> float:
    """The duration of `script` in the client container on `network`."""
    begin = time.monotonic()
    machine.engine.docker("exec", f"client-{network}", "sh", "-ec", script, timeout=300)
    return time.monotonic() - begin


def measure(machine: uml_machine.Machine, second: second_node.Second, runs: int) -> dict[str, dict[str, float]]:
    """The median seconds of each transfer on each network, minus the time of an empty script."""
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
        answer(partial(machine.engine.docker, "exec", f"client-{network}", *get.format(network, "large").split()))
    times: dict[str, dict[str, list[float]]] = {transfer: {name: [] for name in NETWORKS} for transfer in scripts}
    for _ in range(runs):
        for transfer, script in scripts.items():
            for network in NETWORKS:
                times[transfer][network].append(seconds(machine, network, script.replace("{0}", network)))
    medians = {
        transfer: {name: statistics.median(values) for name, values in by_network.items()}
        for transfer, by_network in times.items()
    }
    idle = medians.pop("nothing")
    return {
        transfer: {name: median - idle[name] for name, median in by_network.items()}
        for transfer, by_network in medians.items()
    }


def table(medians: dict[str, dict[str, float]], runs: int) -> str:
    """The results in Markdown, with the machine's properties."""
    rows = [
        f"| {transfer} | {by['plain']:.2f} s | {by['encrypted']:.2f} s | {by['encrypted'] / by['plain']:.1f} |\n"
        for transfer, by in medians.items()
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
                medians = measure(machine, second, runs)
    page = PAGE.read_text(encoding="utf-8")
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    write_atomic(PAGE, re.sub(pattern, lambda _: BEGIN + table(medians, runs) + END, page, count=1, flags=re.DOTALL))
    print(table(medians, runs), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())

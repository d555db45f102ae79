"""One process, or a primary and its workers.

Source: open-balena-api 49.0.12, index.js; Node.js's cluster module for a worker whose primary is gone.
"""

import ctypes
import itertools
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Mapping

_PR_SET_PDEATHSIG = 1  # prctl(2)
# Of a primary beside a worker's, as a real one was seen to take: 105 MiB beside 346 to 410.
_PRIMARY_SHARE = 0.28


def count(environment: Mapping[str, str]) -> int:
    """NUM_WORKERS where it begins with digits other than 0, as JavaScript's parseInt does; else one for each CPU."""
    match = re.match(r"\s*(\d+)", environment.get("NUM_WORKERS", ""))
    return int(match[1] if match else 0) or int(environment.get("STAND_IN_CPUS") or os.cpu_count() or 1)


def run(workers: int, start: Callable[[], None], memory: int) -> None:
    """Run `start` in this process or, where `workers` is more than 1, for ever in that many others.

    Each takes `memory` MiB.

    A worker that ends is replaced at once, however often. One that serves alone ends the container.
    """
    if workers == 1:
        held = touched(memory)
        start()
        del held
        return
    held = touched(int(memory * _PRIMARY_SHARE))
    print(f"Forking {workers} workers", flush=True)
    numbers = itertools.count(1)
    running: dict[int, int] = {}
    for number in range(workers):
        print(f"Forking worker {number}", flush=True)
        running[_fork(start, memory)] = next(numbers)
    while True:
        process, _ = os.wait()
        print(f"Worker {running.pop(process)} died, replacing it", flush=True)
        running[_fork(start, memory)] = next(numbers)


def touched(mebibytes: int) -> bytes:
    """So much memory, each page written to: what is only reserved counts for no limit."""
    return b"\x01" * (mebibytes << 20)


def _fork(start: Callable[[], None], memory: int) -> int:
    primary = os.getpid()
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == primary:
            held = touched(memory)
            start()
            del held
            status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

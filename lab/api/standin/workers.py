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
# The primary's memory relative to a worker's, as measured with the real one: 105 MiB and 346 to 410 MiB.
_PRIMARY_SHARE = 0.28


def count(environment: Mapping[str, str]) -> int:
    """The leading number of NUM_WORKERS, as JavaScript's parseInt; one per CPU if there is none or it is 0."""
    match = re.match(r"\s*(\d+)", environment.get("NUM_WORKERS", ""))
    return int(match[1] if match else 0) or int(environment.get("STAND_IN_CPUS") or os.cpu_count() or 1)


def run(workers: int, start: Callable[[], None], memory: int) -> None:
    """Run `start` in this process or, if `workers` is more than 1, indefinitely in that many processes.

    Each allocates `memory` MiB. A worker that exits is immediately replaced, any number of times; without other workers
    its exit ends the container.
    """
    if workers == 1:
        allocated = touched(memory)
        start()
        del allocated
        return
    allocated = touched(int(memory * _PRIMARY_SHARE))
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
    """Allocate memory and write to each page: memory that is only reserved does not count towards limits."""
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
            allocated = touched(memory)
            start()
            del allocated
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

"""A move of a volume that is killed at a chosen step, as `kill -9` at that moment would."""

import signal
import subprocess
import sys

# Seconds: a move waits 200 for what it stops, and as long as it is told (120, below) for the copy.
PATIENCE = 400

_SCRIPT = """
import os, signal, sys
from openbalena.operations.engines import default_engine
from openbalena.swarm import lock
from openbalena.storage import move

stack, volume, node, last = sys.argv[1:]

def report(step):
    print(step, flush=True)
    if step.startswith(last):
        os.kill(os.getpid(), signal.SIGKILL)

with default_engine(True).client() as client, lock.acquire(client, "storage move"):
    move.move_volume(default_engine(True), client, stack, move.Request(volume, node, 120), report)
"""


def interrupt(stack: str, volume: str, node: str, step: str) -> None:
    """Begin or go on with the move, and kill it with its first word on `step`, before that step is done."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, stack, volume, node, step],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr

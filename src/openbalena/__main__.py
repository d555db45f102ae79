"""The entry point, which the launcher runs by path, so that it starts even in a damaged environment."""

import os
import signal
import sys
from pathlib import Path

# If the caller closed a standard stream, Python sets it to None, and the next opened file would get its descriptor.
for number, name in enumerate(("stdin", "stdout", "stderr")):
    if getattr(sys, name) is None:
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
        setattr(sys, name, os.fdopen(number, "w" if number else "r"))

# As after ^C the lock is released, and jobs and their secrets are removed. systemd ends a scheduled backup so before a
# shutdown, after which nobody could know that the lock is stale.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

# Other users must not be able to write files created here. Secret files get their own modes.
os.umask(os.umask(0o022) | 0o022)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from openbalena.cli.main import main  # noqa: E402

sys.exit(main())

"""What the launcher runs, by path: so a damaged environment is noticed and mended instead of failing to find us."""

import os
import sys
from pathlib import Path

# Python has None for a stream that the caller closed, prints to stdout what was meant for stderr then, and the next
# file that is opened gets the stream's number.
for number, name in enumerate(("stdin", "stdout", "stderr")):
    if getattr(sys, name) is None:
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
        setattr(sys, name, os.fdopen(number, "w" if number else "r"))

# Nobody else writes into what is made here. What has to stay unread gets its own modes.
os.umask(os.umask(0o022) | 0o022)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from openbalena.cli.main import main  # noqa: E402

sys.exit(main())

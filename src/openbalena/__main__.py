"""What the launcher runs, by path: so a damaged environment is noticed and mended instead of failing to find us."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from openbalena.cli.main import main  # noqa: E402

sys.exit(main())

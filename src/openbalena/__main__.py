"""`python -m openbalena`: what the launcher runs."""

import sys

from openbalena.cli.main import main

sys.exit(main())

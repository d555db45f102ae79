"""The entrypoint's first step: create what is missing in the CA's directory."""

import os
import sys
from pathlib import Path

from . import authority

authority.make(Path(), os.environ["TLD"] or sys.exit("balena-ca: DNS_TLD is not set"))

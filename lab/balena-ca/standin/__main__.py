"""The entry's first step, in the directory of the CA: make what is missing there."""

import os
import sys
from pathlib import Path

from standin import authority

authority.make(Path(), os.environ["TLD"] or sys.exit("balena-ca: DNS_TLD is not set"))

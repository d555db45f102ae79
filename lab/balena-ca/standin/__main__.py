"""One of the entry's steps, in the directory of the CA: `make` what is missing there, or serve `cfssl` or `ocsp`."""

import os
import sys
from pathlib import Path

from standin import authority, database
from standin.server import Cfssl, Ocsp, serve


def main(step: str) -> None:
    here = Path()
    if step == "make":
        authority.make(here, os.environ["TLD"] or sys.exit("balena-ca: DNS_TLD is not set"))
        database.make(here)
    elif step == "cfssl":
        serve(8888, Cfssl, authority.Authority(here))
    else:
        serve(8889, Ocsp, authority.Authority(here))


main(sys.argv[1])

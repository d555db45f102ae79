"""Programs from Debian's packages, unpacked into a cache and never installed."""

import functools
import hashlib
import lzma
import os
import subprocess
import urllib.request
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "openbalena-tests"
_MIRROR = "https://deb.debian.org/debian"


def program(package: str, path: str, suite: str = "trixie") -> Path:
    """The file `path` of `package` from `suite`. Raises OSError where the archive cannot be reached."""
    unpacked = CACHE / suite / package
    found = unpacked / path
    if found.exists():
        return found
    index = _index(suite)
    start = index.index(f"\nPackage: {package}\n")
    fields = dict(line.split(": ", 1) for line in index[start:].strip().split("\n\n")[0].splitlines() if ": " in line)
    archive = _fetch(fields["Filename"])
    if hashlib.sha256(archive).hexdigest() != fields["SHA256"]:
        raise OSError(f"{fields['Filename']} is not what the index of {suite} says")
    unpacked.mkdir(parents=True, exist_ok=True)
    deb = unpacked / "package.deb"
    deb.write_bytes(archive)
    subprocess.run(["dpkg-deb", "--extract", deb, unpacked], check=True, timeout=120)
    return found


@functools.lru_cache(maxsize=1)
def _index(suite: str) -> str:
    return lzma.decompress(_fetch(f"dists/{suite}/main/binary-amd64/Packages.xz")).decode()


def _fetch(name: str) -> bytes:
    with urllib.request.urlopen(f"{_MIRROR}/{name}", timeout=60) as answer:
        return bytes(answer.read())

"""A name for what an image is built from: equal content, equal tag, on every machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from openbalena.errors import UsageError
from openbalena.images.dockerignore import Ignore


def tag(context: Path, dockerfile: str, args: Mapping[str, str], base: str, target: str = "") -> str:
    """`c-<12 hex>` over the context's files, the Dockerfile, the build arguments and the base image's id.

    Of a file count its path, content and permission bits; not its times and owner, which differ between checkouts.
    Raises UsageError where the context or the Dockerfile is missing.
    """
    if not context.is_dir():
        raise UsageError(f"{context}: no such directory: it is an image's build context")
    recipe = context / dockerfile
    if not recipe.is_file():
        raise UsageError(f"{recipe}: no such file: it is an image's Dockerfile")
    digest = hashlib.sha256()
    for part in ("v1", base, target, *(f"{name}={value}" for name, value in sorted(args.items()))):
        _add(digest, part.encode())
    _add(digest, recipe.read_bytes())
    for path in files(context):
        _add(digest, path.encode())
        full = context / path
        if full.is_symlink():
            _add(digest, b"link " + os.fsencode(full.readlink()))
        else:
            # Git keeps only this bit of a file's mode.
            _add(digest, b"run" if full.stat().st_mode & 0o100 else b"data")
            _add(digest, full.read_bytes())
    return f"c-{digest.hexdigest()[:12]}"


def files(context: Path) -> Iterator[str]:
    """The paths (relative, sorted) of the files and links that Docker would send."""
    rules = context / ".dockerignore"
    ignore = Ignore(rules.read_text(encoding="utf-8").splitlines() if rules.is_file() else ())
    found = []
    for directory, names, plain in os.walk(context):
        for name in [*plain, *(name for name in names if (Path(directory) / name).is_symlink())]:
            path = (Path(directory) / name).relative_to(context).as_posix()
            if not ignore.excluded(path) and "__pycache__" not in path.split("/"):
                found.append(path)
    yield from sorted(found)


def _add(digest: hashlib._Hash, data: bytes) -> None:
    """Each part with its length, so that no two lists of parts make one text."""
    digest.update(len(data).to_bytes(8, "big") + data)

"""Content tags: an image built from the same content gets the same tag on every machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from openbalena.base.errors import UsageError
from openbalena.images.dockerignore import Ignore


def content_tag(context: Path, dockerfile: str, args: Mapping[str, str], base: str, target: str = "") -> str:
    """`c-<12 hex digits>`: a hash of the context's files, the Dockerfile, build arguments, target and base image id.

    A file contributes its path, content and executable bit, but not its times and owner, which differ between
    checkouts. Raises UsageError if the context or the Dockerfile is missing.
    """
    if not context.is_dir():
        raise UsageError(f"{context}: no such directory (expected an image's build context)")
    definition = context / dockerfile
    if not definition.is_file():
        raise UsageError(f"{definition}: no such file (expected an image's Dockerfile)")
    digest = hashlib.sha256()
    for part in ("v1", base, target, *(f"{name}={value}" for name, value in sorted(args.items()))):
        _add(digest, part.encode())
    _add(digest, definition.read_bytes())
    for path in context_files(context):
        _add(digest, path.encode())
        full = context / path
        if full.is_symlink():
            _add(digest, b"link " + os.fsencode(full.readlink()))
        else:
            # Git records only this bit of a file's mode.
            _add(digest, b"run" if full.stat().st_mode & 0o100 else b"data")
            _add(digest, full.read_bytes())
    return f"c-{digest.hexdigest()[:12]}"


def context_files(context: Path) -> Iterator[str]:
    """The files and symbolic links that Docker would send to the builder, as sorted relative paths."""
    rules = context / ".dockerignore"
    ignore = Ignore(rules.read_text(encoding="utf-8").splitlines() if rules.is_file() else ())
    paths = []
    for directory, names, plain in os.walk(context):
        for name in [*plain, *(name for name in names if (Path(directory) / name).is_symlink())]:
            path = (Path(directory) / name).relative_to(context).as_posix()
            if not ignore.excluded(path) and "__pycache__" not in path.split("/"):
                paths.append(path)
    yield from sorted(paths)


def _add(digest: hashlib._Hash, data: bytes) -> None:
    """Hash each part with its length, so that different lists of parts never hash the same bytes."""
    digest.update(len(data).to_bytes(8, "big") + data)

"""Read and write files in volumes of a local or remote engine, without running a program in a container."""

from __future__ import annotations

import io
import posixpath
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import HOLDER_IMAGE, HOLDER_LABEL

# Bytes; files with certificates or tokens are a few KiB.
_MAX_BYTES = 2**20
# The size of an archive's end marker in bytes, and the maximum number of links to follow.
_END, _LINKS = 2 * tarfile.BLOCKSIZE, 8


def existing_volumes(client: Any, names: list[str]) -> list[str]:
    """Those of the volumes `names` that exist on the engine."""
    there = {item["Name"] for item in client.api.volumes()["Volumes"] or []}
    return [name for name in names if name in there]


def read_file(client: Any, mounts: Mapping[str, str], wanted: Callable[[str], bool]) -> dict[str, bytes | None]:
    """The path and content of each file in the volumes of `mounts` (volume to the directory it is mounted at).

    Links are followed; dangling ones are left out. The content is None for paths that are not `wanted`. The engine
    copies the files out of a container that is never started. Raises OperationError if a volume cannot be read to its
    end, and if a wanted file is too large.
    """
    contents: dict[str, bytes | None] = {}
    with volume_container(client, mounts) as container:
        for directory in mounts.values():
            stream, _ = client.api.get_archive(container, directory)
            entries = unpack(stream, directory, wanted)
            contents |= {path: each for path, each in entries.items() if not isinstance(each, Link)}
            for path, each in entries.items():
                if isinstance(each, Link):
                    contents |= _followed(client, container, path, each.target) if wanted(path) else {path: None}
    return contents


def _followed(client: Any, container: str, path: str, target: str) -> dict[str, bytes | None]:
    """The content of the target of the link at `path`, by that path; empty if the link is dangling."""
    for _ in range(_LINKS):
        entry = stat_file(client, container, target)
        if entry is None:
            return {}
        if not entry.target:
            return {path: directory_content(client, container, target)}
        target = entry.target
    return {}


def write_file(client: Any, container: str, directory: str, files: Mapping[str, tuple[bytes, int] | str]) -> None:
    """Write `files` into `directory` of a container: name to content and mode (owned by root), or to a link target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, file in files.items():
            member = tarfile.TarInfo(name)
            # `certificates.services_with_stale_trust` compares this with the start of containers.
            member.mtime = int(time.time())
            if isinstance(file, str):
                member.type, member.linkname = tarfile.SYMTYPE, file
                archive.addfile(member)
                continue
            content, member.mode = file
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    client.api.put_archive(container, directory, buffer.getvalue())


@dataclass(frozen=True)
class FileInfo:
    """The metadata of a file or link: `target` is the full path a link leads to, or "" for other files."""

    target: str
    size: int
    changed: datetime


def stat_file(client: Any, container: str, path: str) -> FileInfo | None:
    """The metadata of `path` in an existing container; None if the path does not exist."""
    import docker

    try:
        stream, metadata = client.api.get_archive(container, path)
    except docker.errors.NotFound:
        return None
    for _ in stream:  # to release the connection
        pass
    return FileInfo(metadata["linkTarget"], metadata["size"], datetime.fromisoformat(metadata["mtime"]))


def directory_content(client: Any, container: str, path: str) -> bytes:
    """The content of the regular file at `path`, which must exist. Raises OperationError like `read`."""
    stream, _ = client.api.get_archive(container, path)
    file = unpack(stream, path, lambda _: True).get(path)
    if not isinstance(file, bytes):
        raise OperationError(f"{path} in a volume is not a regular file: remove it")
    return file


@contextmanager
def volume_container(client: Any, mounts: Mapping[str, str]) -> Iterator[str]:
    """A container of an empty image with the volumes of `mounts`; it is never started, and removed at the end."""
    empty = io.BytesIO()
    with tarfile.open(fileobj=empty, mode="w"):
        pass
    # A random tag, so that concurrent calls do not remove each other's image.
    tag = token_hex(8)
    client.api.import_image_from_data(empty.getvalue(), repository=HOLDER_IMAGE, tag=tag)
    try:
        binds = {volume: {"bind": directory, "mode": "rw"} for volume, directory in mounts.items()}
        made = client.api.create_container(
            f"{HOLDER_IMAGE}:{tag}",
            ["-"],
            host_config=client.api.create_host_config(binds=binds),
            labels=[HOLDER_LABEL],
        )
        try:
            yield str(made["Id"])
        finally:
            client.api.remove_container(made["Id"], force=True)
    finally:
        client.api.remove_image(f"{HOLDER_IMAGE}:{tag}")


def remove_leftover_containers(client: Any, volume: str) -> None:
    """Remove the containers through which killed commands still use `volume`, and their images."""
    filters = {"volume": volume, "label": HOLDER_LABEL}
    for container in client.api.containers(all=True, filters=filters):
        client.api.remove_container(container["Id"], force=True)
        client.api.remove_image(container["Image"])


@dataclass(frozen=True)
class Link:
    """A symbolic or hard link in an archive: the full path of its target."""

    target: str


def unpack(stream: Iterator[bytes], path: str, wanted: Callable[[str], bool]) -> dict[str, bytes | Link | None]:
    """The files and links in the tar archive that the engine sends for `path`: full path to content or link.

    The content is None for files that are not `wanted`. Raises OperationError if the archive is truncated, as happens
    when a file shrinks while the engine reads it, and for a wanted file that is too large. The stream is always read
    to its end: until then the engine keeps the container locked.
    """
    raw = _Raw(stream)
    entries: dict[str, bytes | Link | None] = {}
    try:
        with tarfile.open(fileobj=raw, mode="r|") as archive:
            for member in archive:
                name = posixpath.join(posixpath.dirname(path), member.name)
                if member.islnk():
                    # The engine sends the content with the first name of the file.
                    entries[name] = Link(posixpath.join(posixpath.dirname(path), member.linkname))
                elif member.issym():
                    entries[name] = Link(posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname)))
                elif member.isreg():
                    entries[name] = _kept(archive, member, name) if wanted(name) else None
    except tarfile.ReadError as error:
        raise OperationError(f"{path} in a volume could not be read: {error}: try again") from None
    finally:
        raw.drain()
    # tar(5): two blocks of zeros mark the end; without them the archive is truncated.
    if raw.last != bytes(len(raw.last)) or len(raw.last) < _END:
        raise OperationError(f"{path} in a volume could not be read completely (something writes to it): try again")
    return entries


def _kept(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> bytes:
    file = archive.extractfile(member)
    if file is None or member.size > _MAX_BYTES:
        raise OperationError(f"{path} in a volume has {member.size} bytes (at most {_MAX_BYTES} expected): remove it")
    return file.read()


class _Raw(io.RawIOBase):
    """The engine's chunks as a file for tarfile; `last` are the last bytes that were read, at most _END."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = memoryview(b"")
        self.last = b""

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the front of `buffer`; 0 at the end."""
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._held = memoryview(chunk)
            self.last = (self.last + chunk)[-_END:]
        size = min(len(buffer), len(self._held))
        buffer[:size], self._held = self._held[:size], self._held[size:]
        return size

    def drain(self) -> None:
        """Read the rest."""
        for chunk in self._chunks:
            self.last = (self.last + chunk)[-_END:]

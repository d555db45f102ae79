"""Reading and writing files in volumes, on whatever machine the engine is and without a program in a container."""

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

from openbalena.errors import OperationError

# Bytes; a file of certificates or tokens has some KiB.
_MOST = 2**20
# Bytes that end an archive, and links that are followed from one to the next.
_END, _LINKS = 2 * tarfile.BLOCKSIZE, 8
_IMAGE = "openbalena/empty"
# Marks the containers that `holder` makes: one that is left over keeps its volumes from being removed.
HOLDER_LABEL = "openbalena.volume-holder"


def existing(client: Any, names: list[str]) -> list[str]:
    """Those of the volumes `names` that the engine has."""
    there = {item["Name"] for item in client.api.volumes()["Volumes"] or []}
    return [name for name in names if name in there]


def read(client: Any, mounts: Mapping[str, str], wanted: Callable[[str], bool]) -> dict[str, bytes | None]:
    """Path to content of each file in the volumes of `mounts` (volume to the directory it is seen at).

    A link counts as the file it points to; one that leads nowhere is left out. The content is None where `wanted` does
    not ask for the path. The engine copies out of a container that is never started. Raises OperationError where a
    volume cannot be read to its end, and where a file that is wanted is larger than it can be.
    """
    found: dict[str, bytes | None] = {}
    with holder(client, mounts) as container:
        for directory in mounts.values():
            stream, _ = client.api.get_archive(container, directory)
            entries = unpack(stream, directory, wanted)
            found |= {path: each for path, each in entries.items() if not isinstance(each, Link)}
            for path, each in entries.items():
                if isinstance(each, Link):
                    found |= _followed(client, container, path, each.target) if wanted(path) else {path: None}
    return found


def _followed(client: Any, container: str, path: str, target: str) -> dict[str, bytes | None]:
    """The content that the link at `path` leads to, by its path; empty where it leads nowhere."""
    for _ in range(_LINKS):
        there = look(client, container, target)
        if there is None:
            return {}
        if not there.target:
            return {path: content(client, container, target)}
        target = there.target
    return {}


def write(client: Any, container: str, directory: str, files: Mapping[str, tuple[bytes, int] | str]) -> None:
    """Put `files` (name to content and mode, root's, or to what a link points to) into `directory` of a container."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, wanted in files.items():
            member = tarfile.TarInfo(name)
            # When it was written, as `certificates.late` reads it.
            member.mtime = int(time.time())
            if isinstance(wanted, str):
                member.type, member.linkname = tarfile.SYMTYPE, wanted
                archive.addfile(member)
                continue
            content, member.mode = wanted
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    client.api.put_archive(container, directory, buffer.getvalue())


@dataclass(frozen=True)
class Entry:
    """A file or link as it stands: `target` is "" for what is no link, else the full path it leads to."""

    target: str
    size: int
    changed: datetime


def look(client: Any, container: str, path: str) -> Entry | None:
    """What is at `path` of a container that exists; None where nothing is."""
    import docker

    try:
        stream, found = client.api.get_archive(container, path)
    except docker.errors.NotFound:
        return None
    for _ in stream:  # so that the connection is free again
        pass
    return Entry(found["linkTarget"], found["size"], datetime.fromisoformat(found["mtime"]))


def content(client: Any, container: str, path: str) -> bytes:
    """The content of the file (no link) at `path`, which has to be there. Raises OperationError as `read` does."""
    stream, _ = client.api.get_archive(container, path)
    found = unpack(stream, path, lambda _: True).get(path)
    if not isinstance(found, bytes):
        raise OperationError(f"{path} in a volume is no file: remove what is there")
    return found


@contextmanager
def holder(client: Any, mounts: Mapping[str, str]) -> Iterator[str]:
    """A container of an empty image with the volumes of `mounts`; it is never started, and goes at the end."""
    empty = io.BytesIO()
    with tarfile.open(fileobj=empty, mode="w"):
        pass
    # Another call at the same time has another one: neither removes what the other is about to use.
    tag = token_hex(8)
    client.api.import_image_from_data(empty.getvalue(), repository=_IMAGE, tag=tag)
    try:
        binds = {volume: {"bind": directory, "mode": "rw"} for volume, directory in mounts.items()}
        made = client.api.create_container(
            f"{_IMAGE}:{tag}", ["-"], host_config=client.api.create_host_config(binds=binds), labels=[HOLDER_LABEL]
        )
        try:
            yield str(made["Id"])
        finally:
            client.api.remove_container(made["Id"], force=True)
    finally:
        client.api.remove_image(f"{_IMAGE}:{tag}")


def release(client: Any, volume: str) -> None:
    """Remove the containers by which a command that was killed still holds `volume`, and their images."""
    filters = {"volume": volume, "label": HOLDER_LABEL}
    for held in client.api.containers(all=True, filters=filters):
        client.api.remove_container(held["Id"], force=True)
        client.api.remove_image(held["Image"])


@dataclass(frozen=True)
class Link:
    """A symbolic or hard link in an archive: the full path of the file that has the content."""

    target: str


def unpack(stream: Iterator[bytes], path: str, wanted: Callable[[str], bool]) -> dict[str, bytes | Link | None]:
    """What is in the tar archive that the engine sends of `path`: full path to content, files and links alone.

    Only the content of what is `wanted` is kept, the rest is None. Raises OperationError where the archive ends before
    its end, as it does when a file shrinks while the engine reads it, and for a wanted file that is too large.
    The stream is read to its end: until then the engine keeps the container locked.
    """
    raw = _Raw(stream)
    found: dict[str, bytes | Link | None] = {}
    try:
        with tarfile.open(fileobj=raw, mode="r|") as archive:
            for member in archive:
                name = posixpath.join(posixpath.dirname(path), member.name)
                if member.islnk():
                    # The engine sends the content with whichever name of the file comes first.
                    found[name] = Link(posixpath.join(posixpath.dirname(path), member.linkname))
                elif member.issym():
                    found[name] = Link(posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname)))
                elif member.isreg():
                    found[name] = _kept(archive, member, name) if wanted(name) else None
    except tarfile.ReadError as error:
        raise OperationError(f"{path} in a volume could not be read: {error}: try again") from None
    finally:
        raw.drain()
    # tar(5): two blocks of zeros, without which the reader cannot tell an end from a break.
    if raw.last != bytes(len(raw.last)) or len(raw.last) < _END:
        raise OperationError(f"{path} in a volume could not be read to its end, as something writes there: try again")
    return found


def _kept(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> bytes:
    file = archive.extractfile(member)
    if file is None or member.size > _MOST:
        raise OperationError(f"{path} in a volume has {member.size} bytes, and at most {_MOST} are expected: remove it")
    return file.read()


class _Raw(io.RawIOBase):
    """The engine's chunks as a file that tarfile reads from; `last` are its last bytes so far, at most _END."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = memoryview(b"")
        self.last = b""

    def readable(self) -> bool:
        """It is."""
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
        """Read what is left."""
        for chunk in self._chunks:
            self.last = (self.last + chunk)[-_END:]

"""Reading and writing files in volumes, on whatever machine the engine is and without a program in a container."""

from __future__ import annotations

import io
import posixpath
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# Bytes; certificates and tokens are some hundred KiB. More is none of what is looked for.
_MOST = 32 * 2**20
_IMAGE = "openbalena/empty"
# Marks the containers that `holder` makes: one that is left over keeps its volumes from being removed.
HOLDER_LABEL = "openbalena.volume-holder"


def existing(client: Any, names: list[str]) -> list[str]:
    """Those of the volumes `names` that the engine has."""
    there = {item["Name"] for item in client.api.volumes()["Volumes"] or []}
    return [name for name in names if name in there]


def read(client: Any, mounts: Mapping[str, str]) -> dict[str, bytes]:
    """Path to content of each file in the volumes of `mounts` (volume to the directory it is seen at).

    A link counts as the file it points to. The engine copies out of a container that is never started.
    """
    found: dict[str, bytes] = {}
    with holder(client, mounts) as container:
        for directory in mounts.values():
            stream, _ = client.api.get_archive(container, directory)
            found |= unpack(_collect(stream), posixpath.dirname(directory))
    return found


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
    """The content of the file (no link) at `path`, which has to be there."""
    stream, _ = client.api.get_archive(container, path)
    return unpack(_collect(stream), posixpath.dirname(path))[path]


@contextmanager
def holder(client: Any, mounts: Mapping[str, str]) -> Iterator[str]:
    """A container of an empty image with the volumes of `mounts`; it is never started, and goes at the end."""
    empty = io.BytesIO()
    with tarfile.open(fileobj=empty, mode="w"):
        pass
    client.api.import_image_from_data(empty.getvalue(), repository=_IMAGE, tag="latest")
    binds = {volume: {"bind": directory, "mode": "rw"} for volume, directory in mounts.items()}
    made = client.api.create_container(
        f"{_IMAGE}:latest", ["-"], host_config=client.api.create_host_config(binds=binds), labels=[HOLDER_LABEL]
    )
    try:
        yield str(made["Id"])
    finally:
        client.api.remove_container(made["Id"], force=True)
        client.api.remove_image(f"{_IMAGE}:latest")


def release(client: Any, volume: str) -> None:
    """Remove the containers by which a command that was killed still holds `volume`."""
    filters = {"volume": volume, "label": HOLDER_LABEL}
    for held in client.api.containers(all=True, filters=filters):
        client.api.remove_container(held["Id"], force=True)


def _collect(stream: Iterator[bytes]) -> bytes:
    data = b""
    for chunk in stream:
        data += chunk
        if len(data) > _MOST:
            break
    return data


def unpack(data: bytes, parent: str) -> dict[str, bytes]:
    """Path to content of the files in a tar archive with names relative to `parent`; broken links are left out."""
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            path = posixpath.join(parent, member.name)
            if member.issym():
                links[path] = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
            elif content := archive.extractfile(member):
                files[path] = content.read()
    return files | {path: files[target] for path, target in links.items() if target in files}

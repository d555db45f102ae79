"""Buckets and objects as directories and files; objects are written atomically."""

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .errors import S3Error

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_UPLOAD = re.compile(r"[0-9a-f]{32}")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Item:
    """An object or a part of an upload; `modified` is in seconds since 1970."""

    key: str
    size: int
    modified: float

    @property
    def etag(self) -> str:
        """Not an MD5; the hyphen tells clients so, as with multipart uploads."""
        return f'"{int(self.modified * 1e9):032x}-{self.size}"'


def _item(key: str, path: Path) -> Item:
    status = path.stat()
    return Item(key, status.st_size, status.st_mtime)


class Store:
    """In `root`: a directory for each bucket, and .temporary for uploads in progress."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._temporary = root / ".temporary"
        self._temporary.mkdir(exist_ok=True)
        for left in self._temporary.iterdir():  # by a killed server; multipart uploads can continue
            if left.is_file():
                left.unlink()

    def buckets(self) -> list[str]:
        """The names, sorted."""
        return sorted(path.name for path in self._root.iterdir() if path.is_dir() and _BUCKET.fullmatch(path.name))

    def make_bucket(self, name: str) -> None:
        if not _BUCKET.fullmatch(name):
            raise S3Error(400, "InvalidBucketName")
        (self._root / name).mkdir(exist_ok=True)

    def bucket(self, name: str) -> Path:
        """Its directory; raises S3Error if it does not exist."""
        if not _BUCKET.fullmatch(name) or not (self._root / name).is_dir():
            raise S3Error(404, "NoSuchBucket")
        return self._root / name

    def path(self, bucket: str, key: str) -> Path:
        """The path of an object, whether or not it exists. Raises S3Error for a key that is not a valid path."""
        parts = key.split("/")
        if not key or len(key.encode()) > 1024 or any(part in ("", ".", "..") for part in parts) or "\0" in key:
            raise S3Error(400, "InvalidArgument", "this store only supports keys that are relative paths")
        return self.bucket(bucket).joinpath(*parts)

    def item(self, bucket: str, key: str) -> tuple[Item, Path]:
        """An object. Raises S3Error if it does not exist."""
        path = self.path(bucket, key)
        if not path.is_file():
            raise S3Error(404, "NoSuchKey")
        return _item(key, path), path

    def temporary(self) -> Path:
        """The path for a new temporary file, on the file system of the objects."""
        return self._temporary / secrets.token_hex(16)

    def put(self, bucket: str, key: str, content: Path) -> Item:
        """Make the temporary file `content` the object, atomically."""
        path, item = self.path(bucket, key), _item(key, content)
        while True:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                content.rename(path)
                return item
            except (FileNotFoundError, FileExistsError):
                # A parent directory was just deleted with its last object, or it is an object.
                if not content.exists() or any(parent.is_file() for parent in path.parents):
                    raise S3Error(409, "InvalidRequest", "a key is the directory of another") from None
            except (NotADirectoryError, IsADirectoryError):
                raise S3Error(409, "InvalidRequest", "a key is the directory of another") from None

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object, if it exists."""
        path, top = self.path(bucket, key), self.bucket(bucket)
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            path.unlink()
        with suppress(OSError):
            for directory in path.parents:
                if directory == top:
                    break
                directory.rmdir()

    def items(self, bucket: str, prefix: str) -> Iterator[Item]:
        """The objects whose keys begin with `prefix`, sorted by key."""
        top = self.bucket(bucket)
        directory = top.joinpath(*[part for part in prefix.split("/")[:-1] if part not in ("", ".", "..")])
        keys = []
        for where, _, names in os.walk(directory):
            relative = Path(where).relative_to(top)
            keys += [str(relative / name) for name in names]
        for key in sorted(key for key in keys if key.startswith(prefix)):
            with suppress(FileNotFoundError):
                yield _item(key, top / key)

    def begin(self, bucket: str, key: str) -> str:
        """The id of a new multipart upload."""
        self.path(bucket, key)
        upload = secrets.token_hex(16)
        directory = self._temporary / f"upload-{upload}"
        directory.mkdir()
        (directory / "target").write_text(json.dumps([bucket, key]))
        return upload

    def uploads(self, bucket: str, prefix: str) -> list[tuple[str, str, float]]:
        """Key, id and start time of each upload in progress."""
        uploads = []
        for directory in self._temporary.glob("upload-*"):
            with suppress(FileNotFoundError):
                target = json.loads((directory / "target").read_text())
                if target[0] == bucket and target[1].startswith(prefix):
                    uploads.append((target[1], directory.name.removeprefix("upload-"), directory.stat().st_mtime))
        return sorted(uploads)

    def parts(self, bucket: str, key: str, upload: str) -> dict[int, Item]:
        """The received parts of an upload, by number. Raises S3Error if there is no such upload."""
        directory = self._upload(bucket, key, upload)
        numbers = sorted(int(path.name.removeprefix("part-")) for path in directory.glob("part-*"))
        return {number: _item(key, directory / f"part-{number}") for number in numbers}

    def put_part(self, bucket: str, key: str, upload: str, number: int, content: Path) -> Item:
        item = _item(key, content)
        content.rename(self._upload(bucket, key, upload) / f"part-{number}")
        return item

    def complete(self, bucket: str, key: str, upload: str, numbers: list[int]) -> Item:
        """Join the parts into the object. Raises S3Error if one is missing."""
        directory, received = self._upload(bucket, key, upload), self.parts(bucket, key, upload)
        if not numbers or numbers != sorted(set(numbers)) or not set(numbers) <= set(received):
            raise S3Error(400, "InvalidPart")
        whole = self.temporary()
        with whole.open("wb") as stream:
            for number in numbers:
                with (directory / f"part-{number}").open("rb") as part:
                    shutil.copyfileobj(part, stream, _CHUNK)
            sync(stream)
        item = self.put(bucket, key, whole)
        shutil.rmtree(directory)
        return item

    def abort(self, bucket: str, key: str, upload: str) -> None:
        shutil.rmtree(self._upload(bucket, key, upload))

    def _upload(self, bucket: str, key: str, upload: str) -> Path:
        directory = self._temporary / f"upload-{upload}"
        if not _UPLOAD.fullmatch(upload) or not directory.is_dir():
            raise S3Error(404, "NoSuchUpload")
        if json.loads((directory / "target").read_text()) != [bucket, key]:
            raise S3Error(404, "NoSuchUpload")
        return directory


def sync(stream: IO[bytes]) -> None:
    """Flush to disk, so that acknowledged data survives a power failure."""
    stream.flush()
    os.fsync(stream.fileno())

"""The restic repository that the settings name, and what its programs need to know to reach it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from openbalena.backup import scripts
from openbalena.base.errors import UsageError

_NEEDED = {
    "BACKUP_REPOSITORY": "a directory such as /srv/backup, or s3:https://host/bucket/path",
    "BACKUP_PASSWORD": "the password that encrypts the backups, such as the output of `openssl rand -hex 32`",
}


@dataclass(frozen=True)
class Repository:
    """`address` in restic's notation; `password` encrypts it, the two keys are an object store's ("" without one)."""

    address: str
    password: str
    access_key: str = ""
    secret_key: str = ""

    @property
    def directory(self) -> str:
        """The directory that it is; "" for an object store."""
        return self.address if self.address.startswith("/") else ""

    def variables(self, address: str, server_password: str = "") -> str:
        """A file for sh with the environment of restic and rclone, for the repository at `address`.

        `server_password` protects the server of a directory.
        """
        values = {
            "RESTIC_REPOSITORY": address,
            "RESTIC_PASSWORD": self.password,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "OPENBALENA_SERVER_PASSWORD": server_password,
        }
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items() if value)


def configured(settings: Mapping[str, str]) -> Repository:
    """The repository in the settings. Raises UsageError if there is none."""
    for name, example in _NEEDED.items():
        if not settings.get(name):
            raise UsageError(f"{name} is not set: set it in .env to {example}")
    keys = (settings.get(name, "") for name in ("BACKUP_S3_ACCESS_KEY", "BACKUP_S3_SECRET_KEY"))
    return Repository(settings["BACKUP_REPOSITORY"], settings["BACKUP_PASSWORD"], *keys)


def served_address(host: str, password: str) -> str:
    """The address of a repository that a job serves, in the network of the backup's jobs."""
    return f"rest:http://{scripts.USER}:{password}@{host}:{scripts.PORT}/"

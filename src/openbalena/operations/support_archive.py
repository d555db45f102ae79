"""doctor --bundle: one archive with what others need to help, without secrets."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openbalena import __version__, settings
from openbalena.base import files
from openbalena.base.errors import OpenBalenaError, UsageError
from openbalena.base.names import STACK_LABEL
from openbalena.operations.cluster_status import ClusterStatus, status_reader
from openbalena.operations.doctor import examine
from openbalena.operations.engines import default_engine
from openbalena.operations.manager import manager_client
from openbalena.operations.releases import list_releases
from openbalena.operations.reporter import Reporter
from openbalena.operations.service_logs import LogOptions, read_logs
from openbalena.operations.show_settings import settings_in_force
from openbalena.operations.workspace import Workspace
from openbalena.pki.directory import private
from openbalena.settings.redaction import Redaction
from openbalena.swarm.convergence import Phase

_MASKED = (
    "secret settings and unknown ones; variables of containers that are not settings; labels of others; private keys; "
    "tokens, passwords and authentication headers as far as they can be recognized"
)


@dataclass(frozen=True)
class ArchiveResult:
    """`files` are the names in the archive; `missing` says why parts are not in it, by name. `size` is in bytes."""

    files: tuple[str, ...]
    missing: dict[str, str]
    size: int


@dataclass
class _Archive:
    """The contents of the archive, masked as they are added."""

    redaction: Redaction
    reporter: Reporter
    contents: dict[str, bytes] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, read: Callable[[], Any]) -> None:
        """Add what `read` returns: lines of text for a `.log`, otherwise a JSON value."""
        self.reporter.progress(f"reading {name} …")
        try:
            value = read()
        except OpenBalenaError as error:
            self.missing[name] = self.redaction.text(str(error))
            return
        # The lines together: a secret such as a key may have several.
        text = self.redaction.text("\n".join(value)) if name.endswith(".log") else _json(self.redaction.data(value))
        self.contents[name] = f"{text}\n".encode()

    def packed(self, now: datetime) -> bytes:
        """The archive, with a manifest as its first file."""
        described = {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in sorted(self.contents.items())
        }
        manifest = {"created": now.isoformat(timespec="seconds"), "version": __version__, "masked": _MASKED,
                    "files": described, "missing": self.missing}  # fmt: skip
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, data in {"manifest.json": f"{_json(manifest)}\n".encode(), **self.contents}.items():
                member = tarfile.TarInfo(f"open-balena-support/{name}")
                member.size, member.mode, member.mtime = len(data), 0o600, int(now.timestamp())
                archive.addfile(member, io.BytesIO(data))
        return buffer.getvalue()


def write_archive(
    path: Path, lines: int, workspace: Workspace, reporter: Reporter, take_over: str = ""
) -> ArchiveResult:
    """Write the archive to `path` (mode 600), with the last `lines` of each task of the services that do not run.

    What cannot be read, for example because the swarm does not answer, is named in the archive's manifest. `take_over`
    is the id of a stale lock. Raises UsageError for a path that cannot be written, and for a malformed `.env`, whose
    secrets would not be known.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path}: cannot be written: expected the path of a file in a directory that exists")
    values = settings.read_unchecked(workspace.project)
    archive = _Archive(Redaction(values, _private_keys(Path(values["PKI_DIR"]))), reporter)
    archive.add("versions.json", lambda: _versions(workspace))
    archive.add("settings.json", lambda: settings_in_force(workspace, reporter, reveal=False))
    archive.add("doctor.json", lambda: examine(workspace, None, take_over=take_over).record())
    archive.add("releases.json", lambda: _releases(workspace))
    archive.add("engine.json", lambda: _engine_info(workspace))
    archive.add("swarm.json", lambda: _swarm_objects(workspace, values["STACK_NAME"]))
    status: list[ClusterStatus] = []
    archive.add("swarm-status.json", lambda: _status(workspace, status))
    for name in (name for found in status for name in unhealthy_services(found)):
        archive.add(f"logs/{name}.log", lambda name=name: _log(name, lines, workspace))  # type: ignore[misc]
    data = archive.packed(datetime.now(UTC))
    try:
        files.write_atomic(path, data, 0o600)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    return ArchiveResult(tuple(archive.contents), archive.missing, len(data))


def unhealthy_services(status: ClusterStatus) -> list[str]:
    """The services that have not converged, or with a task that failed."""
    failed = {name for problem in status.problems for name in problem.services}
    progress = [item.progress for item in status.services]
    return [
        item.service.short_name
        for item in progress
        if item.phase is not Phase.CONVERGED or item.service.short_name in failed
    ]


def _versions(workspace: Workspace) -> dict[str, Any]:
    docker = default_engine(workspace.lab).docker("version", "--format", "{{json .}}")
    system = platform.uname()
    return {
        "open-balena": __version__,
        "python": sys.version,
        "system": f"{system.system} {system.release} {system.machine}",
        "docker": json.loads(docker),
    }


def _releases(workspace: Workspace) -> list[dict[str, Any]]:
    """Without what labels became: users put passwords into them. Values of variables and options are never recorded."""
    records = [release.record() for release in list_releases(workspace)]
    for record in records:
        record["changes"] = {
            name: [line.partition(": ")[0] if line.startswith(("labels: ", "service labels: ")) else line
                   for line in lines]
            for name, lines in record["changes"].items()
        }  # fmt: skip
    return records


def _engine_info(workspace: Workspace) -> Any:
    with default_engine(workspace.lab).client() as client:
        return client.info()


def _swarm_objects(workspace: Workspace, stack: str) -> dict[str, Any]:
    """The definitions of nodes and networks, and of the stack's services and tasks; secrets and configs by name."""
    label = {"label": f"{STACK_LABEL}={stack}"}
    with manager_client(workspace) as (_, client):
        api = client.api
        return {
            "swarm": api.inspect_swarm(),
            "nodes": api.nodes(),
            "services": api.services(filters=label),
            "tasks": api.tasks(filters=label),
            "networks": api.networks(),
            "secrets": sorted(item["Spec"]["Name"] for item in api.secrets()),
            "configs": sorted(item["Spec"]["Name"] for item in api.configs()),
        }


def _status(workspace: Workspace, found: list[ClusterStatus]) -> dict[str, Any]:
    with status_reader(workspace) as read:
        found.append(read())
    return found[0].record()


def _log(service: str, lines: int, workspace: Workspace) -> list[str]:
    result = read_logs(LogOptions((service,), lines), workspace)
    return [*result.lines, *filter(None, (*result.missing, result.failure))]


def _private_keys(directory: Path) -> Iterator[bytes]:
    """The files with private keys; the administrator may keep some elsewhere."""
    if directory.is_dir():
        for path in sorted(directory.iterdir()):
            if private(path.name) and path.is_file():
                yield path.read_bytes()


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)

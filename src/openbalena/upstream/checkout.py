"""openBalena's Compose file, in a checkout of https://github.com/balena-io/open-balena."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from openbalena import compose
from openbalena.base.errors import UsageError
from openbalena.compose import Map, Project
from openbalena.upstream.facts import Facts, facts

DOMAIN = "<DNS_TLD>"


def services(project: Project) -> dict[str, Facts]:
    """The facts of every enabled service of `project`. Raises UsageError.

    The names of environment files are facts; the files are a user's, and are not read.
    """
    written: Map = project.tree.get("services") or Map()
    return {
        name: {**facts(service), **_files(written[name].get("env_file"), project.directory)}
        for name, service in _without_files(project).services.items()
    }


def read(directory: Path) -> dict[str, Facts]:
    """The facts of every service in openBalena's checkout. Raises UsageError if `directory` is not a checkout."""
    project = compose.load([directory / "docker-compose.yml"], environment={}, profiles=["*"])
    by_service = services(project)
    for name, service in _without_files(project).services.items():
        by_service[name] |= _build(service.get("build"))
    # HAProxy gets its aliases at run time.
    for alias in by_service.get("haproxy-sidecar", {}).get("environment.ALIASES", "").split(","):
        if alias and "haproxy" in by_service:
            by_service["haproxy"][f"aliases.{alias}.{DOMAIN}"] = "yes"
    return by_service


def version(directory: Path) -> str:
    """The content of the checkout's VERSION; "" if it has none."""
    file = directory / "VERSION"
    return file.read_text().strip() if file.is_file() else ""


def _without_files(project: Project) -> Project:
    tree = project.tree.copy()
    tree["services"] = Map((name, service.without(["env_file"])) for name, service in tree["services"].items())
    return replace(project, tree=tree)


def _files(written: Any, directory: Path) -> Facts:
    entries = written if isinstance(written, list) else [written] if written else []
    paths = [entry["path"] if isinstance(entry, Mapping) else entry for entry in entries]
    return {f"env_file.{os.path.relpath(directory / path, directory)}": "yes" for path in paths}


def _build(build: Mapping[str, Any] | None) -> Facts:
    """The base image of a build, and a digest of each file in its context except the Dockerfile."""
    if not build:
        return {}
    context = Path(str(build["context"]))
    dockerfile = context / str(build["dockerfile"])
    try:
        bases = re.findall(r"^FROM\s+(?:--\S+\s+)*(\S+)", dockerfile.read_text(), re.MULTILINE | re.IGNORECASE)
        contents = {path: path.read_bytes() for path in sorted(context.rglob("*")) if path.is_file()}
    except OSError as error:
        raise UsageError(
            f"{dockerfile}: cannot be read: {error}: expected a complete checkout of open-balena"
        ) from None
    digests = {
        f"build.{path.relative_to(context)}": hashlib.sha256(content).hexdigest()
        for path, content in contents.items()
        if path != dockerfile
    }
    return {**digests, "image": bases[-1].partition("@")[0] if bases else ""}

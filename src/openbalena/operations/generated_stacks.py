"""The compiled files in the checkout: the default deployment, db and s3, and the volumes on NFS."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from openbalena import compose
from openbalena.settings import nfs
from openbalena.stack.compiler import Compiled, compile, node_labels  # noqa: A004 - the contract's word
from openbalena.stack.emit import dump
from openbalena.stack.reference import with_table
from openbalena.stack.x_swarm_schema import x_swarm_schema

DOCUMENTATION = "docs/compose-to-swarm.md"
SCHEMA = "docs/x-swarm.schema.json"
INTERNAL = ("internal-postgres", "internal-s3")
_HOW = "Compiled from docker-compose.yml: change that and run `./open-balena.sh stack render --committed`."


def generated_files(root: Path) -> dict[str, str]:
    """The name and text of each file that is compiled from `root`'s docker-compose.yml, regardless of the environment.

    Variables are kept as written. Raises UsageError for invalid definitions.
    """
    default = _compiled(root, ())
    internal = _compiled(root, INTERNAL)
    return {
        "docker-stack.yml": _text(
            "openBalena's services on Docker Swarm, without the internal database and store.", default, default.document
        ),
        "docker-stack-internal.yml": _text(
            "The internal database and store: deploy this file together with docker-stack.yml.",
            internal,
            _only_in(internal, default),
        ),
        "docker-stack-nfs.yml.template": _text(
            "The volumes on an NFS server: deploy this file together with the others, with NFS_HOST set.",
            None,
            {"volumes": {name: _on_nfs(name) for name in sorted(_compiled(root, ("*",)).stateful)}},
        ),
        SCHEMA: json.dumps(x_swarm_schema(), indent=2) + "\n",
        DOCUMENTATION: with_table((root / DOCUMENTATION).read_text()),
    }


def _compiled(root: Path, profiles: Iterable[str]) -> Compiled:
    files = [root / "docker-compose.yml"]
    return compile(compose.load(files, environment={}, profiles=profiles, interpolate=False))


def _only_in(full: Compiled, default: Compiled) -> dict[str, Any]:
    """The part of `full` that is not in `default`, and everything that its services use."""
    services = {name: value for name, value in full.document["services"].items()
                if name not in default.document["services"]}  # fmt: skip
    document: dict[str, Any] = {"services": services, "networks": full.document["networks"]}
    used = {
        "volumes": {mount.get("source") for service in services.values() for mount in service.get("volumes", ())},
        "secrets": {item["source"] for service in services.values() for item in service.get("secrets", ())},
        "configs": {item["source"] for service in services.values() for item in service.get("configs", ())},
    }
    for section, names in used.items():
        document[section] = {name: value for name, value in full.document[section].items() if name in names}
    return document


def _on_nfs(name: str) -> dict[str, Any]:
    host, path = f"${{NFS_HOST:-{nfs.INVALID}}}", f"${{NFS_PATH:-/openbalena}}/{name}"
    return {"driver": "local", "driver_opts": nfs.driver_options(host, "${NFS_PORT:-2049}", path)}


def _text(title: str, compiled: Compiled | None, document: dict[str, Any] | Any) -> str:
    labels = sorted(_labels(document)) if compiled else []
    lines = [title, _HOW, *(f"Node label to set: docker node update --label-add {label} NODE" for label in labels)]
    return "".join(f"# {line}\n" for line in lines) + dump(document)


def _labels(document: dict[str, Any]) -> set[str]:
    return {f"{label}={value}" for label, value in node_labels(document["services"]).items()}

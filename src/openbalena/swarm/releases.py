"""The releases of a stack: each deploy, what it changed, and what is needed to deploy it again.

A release is a swarm config, so that every manager has it. Its content, which cannot be changed, is the stack document
with the names of its secrets and configs; its labels say who deployed it, and how that ended. Like the lock it has no
label of the stack: `docker stack rm` keeps it.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from openbalena.base.limits import MAXIMUM_BYTES
from openbalena.base.names import RELEASE_LABEL, RELEASE_NUMBER_LABEL, RELEASE_STACK_LABEL, release_config
from openbalena.docker.object_labels import replace_labels
from openbalena.swarm.api_schema import API, same_image

# How many are kept; those before the last successful one can only be read, since their secrets are gone.
KEPT = 20


class Outcome(StrEnum):
    """How a release ended. That of a killed or interrupted deploy remains `deploying`."""

    DEPLOYING = "deploying"
    SUBMITTED = "submitted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Release:
    """One deploy. `started` is ISO 8601; `seconds` is None until it has ended.

    `changes` are lines by service. `document` is the stack as `docker stack config` prints it, its secrets and configs
    external. `images` are the images with digest, by service, of those that came from a registry. `migrations` are the
    keys of the database's migrations that its api knows; None if that is not known.
    """

    number: int
    owner: str
    started: str
    command: str
    message: str = ""
    outcome: Outcome = Outcome.DEPLOYING
    seconds: float | None = None
    changes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    migrations: Sequence[str] | None = None

    def labels(self, stack: str) -> dict[str, str]:
        """The config's labels."""
        values = {
            "owner": self.owner,
            "started": self.started,
            "command": self.command,
            "message": self.message,
            "outcome": self.outcome.value,
            "seconds": "" if self.seconds is None else f"{self.seconds:.0f}",
            "images": json.dumps(dict(self.images)),
            "migrations": "" if self.migrations is None else json.dumps(list(self.migrations)),
        }
        named = {RELEASE_LABEL + name: value for name, value in values.items()}
        return {RELEASE_STACK_LABEL: stack, RELEASE_NUMBER_LABEL: str(self.number), **named}

    def content(self) -> bytes:
        """The config's content."""
        data = {"changes": {name: list(lines) for name, lines in self.changes.items()}, "document": self.document}
        return gzip.compress(json.dumps(data, sort_keys=True).encode(), mtime=0)

    def row(self) -> tuple[str, ...]:
        """As `swarm-history` lists it: number, start, owner, outcome, seconds, changes."""
        text = "; ".join(f"{name}: {', '.join(lines)}" for name, lines in self.changes.items())
        parts = [self.message, "" if self.command == "swarm-up" else self.command, text]
        seconds = "-" if self.seconds is None else f"{self.seconds:.0f}"
        return (str(self.number), self.started, self.owner, self.outcome.value, seconds, ": ".join(filter(None, parts)))

    def record(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "release": self.number,
            "started": self.started,
            "by": self.owner,
            "command": self.command,
            "message": self.message,
            "outcome": self.outcome.value,
            "seconds": self.seconds,
            "changes": self.changes,
            "images": {name: self.image(name) for name in self.document["services"]},
        }

    def image(self, service: str) -> str:
        """The image of a service, with its digest if it came from a registry; "" if there is no such service."""
        body = self.document["services"].get(service)
        return self.images.get(service, str(body["image"])) if body else ""

    def objects(self) -> set[str]:
        """The names of its secrets and configs."""
        return {str(body["name"]) for kind in MAXIMUM_BYTES for body in (self.document.get(kind) or {}).values()}

    def deployable(self) -> dict[str, Any]:
        """The stack document to deploy it again: with the images that it had, whatever their tags are now."""
        services = {name: {**body, "image": self.image(name)} for name, body in self.document["services"].items()}
        return {**self.document, "services": services}


def from_config(raw: Mapping[str, Any]) -> Release:
    """The release stored in a config, as the Engine API returns it."""
    labels, data = raw["Spec"]["Labels"], json.loads(gzip.decompress(base64.b64decode(raw["Spec"]["Data"])))
    values = {name: labels.get(RELEASE_LABEL + name, "") for name in ("owner", "started", "command", "message")}
    return Release(
        number=int(labels[RELEASE_NUMBER_LABEL]),
        **values,
        outcome=Outcome(labels[f"{RELEASE_LABEL}outcome"]),
        seconds=float(labels[f"{RELEASE_LABEL}seconds"] or 0) if labels[f"{RELEASE_LABEL}seconds"] else None,
        changes=data["changes"],
        document=data["document"],
        images=json.loads(labels.get(f"{RELEASE_LABEL}images") or "{}"),
        migrations=json.loads(labels.get(f"{RELEASE_LABEL}migrations") or "null"),
    )


def read_releases(client: Any, stack: str) -> list[Release]:
    """The stack's releases, the newest first. Raises docker.errors.APIError."""
    return sorted((from_config(raw) for raw in _configs(client, stack)), key=lambda each: -each.number)


def begin(client: Any, stack: str, release: Release) -> None:
    """Record a release that begins, in place of an earlier record with its number. Raises docker.errors.APIError."""
    for raw in _configs(client, stack):
        if raw["Spec"]["Name"] == release_config(stack, release.number):
            client.api.remove_config(raw["ID"])
    client.configs.create(
        name=release_config(stack, release.number), data=release.content(), labels=release.labels(stack)
    )


def finish(client: Any, stack: str, ended: Release) -> None:
    """Record how a release ended, and drop the oldest ones. Raises docker.errors.APIError."""
    for raw in _configs(client, stack):
        number = int(raw["Spec"]["Labels"][RELEASE_NUMBER_LABEL])
        if number == ended.number:
            replace_labels(client.api, "configs", raw, ended.labels(stack))
        elif number <= ended.number - KEPT:
            client.api.remove_config(raw["ID"])


def remove_releases(client: Any, stack: str) -> None:
    """Remove all of the stack's releases. Raises docker.errors.APIError."""
    for raw in _configs(client, stack):
        client.api.remove_config(raw["ID"])


def last_good(releases: Sequence[Release]) -> Release | None:
    """Of `releases`, the newest first, the last successful one before the first."""
    return next((each for each in releases[1:] if each.outcome is Outcome.SUCCEEDED), None)


def known_migrations(releases: Sequence[Release], image: str) -> Sequence[str] | None:
    """The migrations that the api's `image` knows, as the oldest of `releases` (newest first) with it has recorded.

    A later one may have deployed it again on a database that a newer version had migrated. None if none has.
    """
    found = (each.migrations for each in reversed(releases) if same_image(each.image(API), image))
    return next((keys for keys in found if keys is not None), None)


def objects_in_use(releases: Sequence[Release]) -> set[str]:
    """The secrets and configs of the newest of `releases` (newest first) and of the last good one before it."""
    kept = [*releases[:1], *filter(None, [last_good(releases)])]
    return set().union(*(each.objects() for each in kept))


def external(document: Mapping[str, Any]) -> dict[str, Any]:
    """A stack document of `docker stack config` that refers to its secrets and configs by their names in the swarm.

    Their keys are the names too, so that the services of two releases fit into one document.
    """
    names = {
        kind: {key: str(body["name"]) for key, body in (document.get(kind) or {}).items()} for kind in MAXIMUM_BYTES
    }
    services = {}
    for service, body in document["services"].items():
        mounted = {
            # Docker's default target of a secret or config is its key (docker/cli, convertFileObject).
            kind: [{**item, "target": item.get("target") or item["source"], "source": names[kind][item["source"]]}
                   for item in body[kind]]
            for kind in MAXIMUM_BYTES if body.get(kind)
        }  # fmt: skip
        services[service] = {**body, **mounted}
    objects = {
        kind: {name: {"external": True, "name": name} for name in sorted(keys.values())}
        for kind, keys in names.items()
        if keys
    }
    return {**document, "services": services, **objects}


def with_service_of(current: Release, earlier: Release, service: str) -> dict[str, Any]:
    """The document of `current` with `service`, and all that it needs, of `earlier`."""
    document, old = current.deployable(), earlier.deployable()
    body = old["services"][service]
    merged = {**document, "services": {**document["services"], service: body}}
    for kind in (*MAXIMUM_BYTES, "networks", "volumes"):
        merged[kind] = {**(old.get(kind) or {}), **(document.get(kind) or {})}
    used = {kind: {item["source"] for each in merged["services"].values() for item in each.get(kind) or ()}
            for kind in MAXIMUM_BYTES}  # fmt: skip
    for kind, names in used.items():
        merged[kind] = {name: entry for name, entry in merged[kind].items() if name in names}
    return merged


def _configs(client: Any, stack: str) -> Iterator[dict[str, Any]]:
    yield from client.api.configs(filters={"label": f"{RELEASE_STACK_LABEL}={stack}"})

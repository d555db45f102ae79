"""Secrets and configs: the files of a rendered stack."""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openbalena.base import placeholder
from openbalena.base.errors import UsageError
from openbalena.base.names import full_name
from openbalena.compose.paths import is_file
from openbalena.compose.tree import UNKNOWN_POSITION, Map, Position, Seq, expected, plain
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.overlay import SwarmExtensions

# The keys that define the content: if there are several, Docker silently uses the first in this order.
_ORIGINS = ("external", "driver", "file", "content", "environment")
# Docker's own variables (docker/cli, docs/reference/commandline/docker.md; buildx reads BUILDX_CONFIG), and names that
# no variable can have.
_RESERVED = re.compile(r"(DOCKER_|COMPOSE_|BUILDX_|BUILDKIT_|[0-9]).*")
_WRITTEN = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class ContentFile:
    """One secret or config. `path` is relative to the rendered directory; `variable` holds the object's name in the
    cluster, which is `name` if that variable is unset; there is none for a name in the Compose file, which is kept, so
    that it is changed there with the content. `services` use it. The content is that of the file `source`, or
    `text`, in which secret values are placeholders; a stack that was compiled without interpolation has neither.
    `position` is where it was written.
    """

    key: str
    path: str
    variable: str
    name: str
    services: tuple[str, ...]
    text: str | None = None
    source: Path | None = None
    position: Position = UNKNOWN_POSITION


def one_origin(kind: str, key: str, written: Map, diagnostics: list[Diagnostic]) -> Map:
    """The secret or config (`kind`) `key` with one origin of its content; any further one is an error."""
    first, *others = [origin for origin in _ORIGINS if origin in written] or [""]
    for other in others:
        message = f"the {kind} {key} also has {first}: only one of them can define its content"
        instead = f"remove {first} or {other} (in an override file: {other}: !reset null)"
        diagnostics.append(Diagnostic(written.at(other), f"{kind}s.{other}", Severity.ERROR, message, instead))
    if "driver_opts" in written and "driver" not in written:
        message, place = f"the {kind} {key} has no driver that would use them", written.at("driver_opts")
        diagnostics.append(Diagnostic(place, f"{kind}s.driver_opts", Severity.WARNING, message, "remove them"))
    return written.without(others)


def described(kind: str, key: str, written: Map, project: str, environment: Mapping[str, str]) -> ContentFile:
    """The content file of the secret or config (`kind`) `key`. Raises UsageError if it has no content."""
    text = source = None
    if "content" in written:
        text = str(written["content"])
    elif "environment" in written:
        text = environment.get(str(written["environment"]), "")
    elif "file" in written:
        source = Path(str(written["file"]))
    else:
        raise UsageError(f"the {kind} {key} needs file, content, environment or external", where=written.position)
    content = replace(content_file(kind, key, key, project, text, source), position=written.at("file"))
    name = str(written.get("name") or content.name)
    return content if name == content.name else replace(content, name=name, variable="")


def missing_files(contents: Iterable[ContentFile]) -> Iterator[Diagnostic]:
    """A note for each of the `contents` whose file does not exist yet; only writing or deploying them reads it."""
    for content in contents:
        if content.source is not None and "$" not in str(content.source) and not is_file(content.source):
            rule, meaning = (
                f"{content.path.partition('/')[0]}.file",
                f"{content.source} does not exist, or is not a file",
            )
            yield Diagnostic(content.position, rule, Severity.NOTE, meaning, "create it before the deploy")


def content_file(kind: str, key: str, file: str, project: str, text: str | None, source: Path | None) -> ContentFile:
    """A content file with names derived from its key."""
    return ContentFile(key, f"{kind}s/{file}", _variable(kind, key), full_name(project, key), (), text, source)


def _variable(kind: str, key: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", key.upper()) + ("_SECRET" if kind == "secret" else "_CONFIG")


def own_variable(content: ContentFile, keys: Collection[str], taken: Collection[str]) -> ContentFile:
    """The content file with a variable that is used for nothing else: not for another of the `keys` of its section, not
    by the stack (`taken`), and not by Docker.
    """
    kind, variable = content.path.partition("/")[0][:-1], content.variable
    if not variable:
        return content
    shared = any(key != content.key and _variable(kind, key) == variable for key in keys)
    if shared or variable in taken or _RESERVED.fullmatch(variable):
        # Variables derived from keys have no lower-case letters.
        variable = f"x{hashlib.sha256(content.key.encode()).hexdigest()[:12]}_{variable}"
    return replace(content, variable=variable)


def taken_variables(document: Mapping[str, Any], *declared: Any) -> set[str]:
    """The variables that the stack `document`, or its `declared` secrets and configs, use or take from the shell."""
    text = json.dumps([document, *map(plain, declared)], ensure_ascii=False, default=str)
    environments = (service.get("environment", {}) for service in document["services"].values())
    shell = {key for environment in environments for key, value in environment.items() if value in (None, "")}
    return shell | placeholder.placeholders_in(text) | set(_WRITTEN.findall(text))


def entry(content: ContentFile, written: Map) -> Map:
    """The stack's definition of a content file, which the Compose file defines as `written`."""
    described = Map()
    described["name"] = f"${{{content.variable}:-{content.name}}}" if content.variable else content.name
    described["file"] = f"./{content.path}"
    for key in ("labels", "template_driver"):
        if written.get(key):
            described[key] = written[key]
    return described


def secret_env(
    service: Map, name: str, extensions: SwarmExtensions, project: str, interpolated: bool
) -> tuple[Map, ContentFile]:
    """The service without the variables that `secret_env` names, and a file with them as KEY=value lines.

    Raises UsageError for a variable that the service does not have, or whose value has a line break.
    """
    written = extensions.secret_env or Map()
    target, keys = written.get("target"), written.get("keys")
    if not isinstance(target, str) or not isinstance(keys, Seq) or set(written) - {"target", "keys"}:
        raise UsageError("x-swarm.secret_env: expected target: and keys:", where=written.position)
    environment: Map = service.get("environment", Map()).copy()
    lines = []
    for key, place in keys.located():
        if not isinstance(key, str):
            raise expected(place, "the name of a variable", key)
        if environment.get(key) is None:
            raise UsageError(
                f"x-swarm.secret_env names {key}, which the service's environment does not set", where=place
            )
        value = environment.pop(key)
        if "\n" in value:
            raise UsageError(f"{key} has a line break, which a file of KEY=value lines cannot contain", where=place)
        lines.append(f"{key}={value}\n")
    key = f"{name}-env"
    content = content_file("secret", key, f"{name}.env", project, "".join(lines) if interpolated else None, None)
    changed = service.copy()
    changed.put("environment", environment, service.at("environment"))
    reference = Map([("source", key), ("target", target), ("mode", 0o400)], written.position)
    secrets = Seq(written.position)
    for item, place in [*service.get("secrets", Seq()).located(), (reference, written.position)]:
        secrets.put(item, place)
    changed.put("secrets", secrets, written.position)
    return changed, content

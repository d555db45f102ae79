"""Writes a compiled stack to a directory from which plain `docker stack deploy` can deploy it."""

import shlex
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from openbalena.base import files, placeholder
from openbalena.base.errors import UsageError
from openbalena.base.limits import MAXIMUM_BYTES, MAXIMUM_OBJECT_NAME
from openbalena.base.names import object_name
from openbalena.stack.compiler import Compiled
from openbalena.stack.content import ContentFile
from openbalena.stack.emit import dump


def stack_file(compiled: Compiled) -> str:
    """The stack as text: placeholders of secrets become `${NAME}`, every other dollar sign `$$`."""
    return _text_and_variables(compiled, compiled.name)[0]


def _text_and_variables(compiled: Compiled, stack: str) -> tuple[str, list[str]]:
    """The stack as text, and the secret variables that it names, sorted."""
    body = dump(_escaped(compiled.document) if compiled.interpolated else compiled.document)
    variables = sorted(placeholder.placeholders_in(body))
    return _header(compiled, variables, stack) + placeholder.substitute(body, lambda name: f"${{{name}}}"), variables


def render(compiled: Compiled, directory: Path, secrets: Mapping[str, str], stack: str = "") -> None:
    """Write the stack, its secrets and configs and `deploy.env` into `directory` (mode 700), replacing all of it.

    It must be deployed as `stack` (by default the project's name): the names of its secrets and configs start with that
    and end with a hash of their content, so that new content makes a new object.

    The new directory is written next to the old one and replaces it at the end, so a kill never leaves a partial one;
    the next call removes leftovers. If `directory` is a symbolic link, its target is replaced: it may be on another
    disk, to protect the secrets. Raises UsageError for a file that is missing or too large, for a secret without a
    value, for a name longer than the engine allows, and for a directory that cannot be replaced.
    """
    with suppress(RuntimeError):  # which Python 3.13 no longer raises
        directory = directory.resolve()
    if directory.is_symlink():
        raise UsageError(f"{directory}: is a symbolic link to itself: remove it")
    if directory.is_mount():
        raise UsageError(f"{directory}: is a mount point, which cannot be replaced: choose a directory below it")
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory}: is not a directory: choose another path")
    if directory.exists() and any(directory.iterdir()) and not (directory / "stack.yml").exists():
        raise UsageError(f"{directory}: is not empty and not a rendered stack: choose another directory")
    made, old = (directory.with_name(f".{directory.name}.{state}") for state in ("new", "old"))
    for leftover in (made, old):
        if leftover.is_symlink():  # left by a version that replaced the link itself
            leftover.unlink()
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        files.private_directory(made)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        # A component is a file, or the file system has no directories of the user's.
        raise UsageError(f"{directory}: cannot be created: {error.strerror}: choose another directory") from None
    try:
        _fill(compiled, made, secrets, stack or compiled.name)
        if directory.exists():
            directory.rename(old)
        made.rename(directory)
    finally:
        for leftover in (made, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _fill(compiled: Compiled, directory: Path, secrets: Mapping[str, str], stack: str) -> None:
    for name in ("secrets", "configs"):
        files.private_directory(directory / name)
    values = dict.fromkeys(_empty(compiled.document), "")
    for content in compiled.content_files:
        data = _content(content, secrets)
        files.write_atomic(directory / content.path, data, 0o600)
        if content.variable:
            values[content.variable] = _name(compiled, content, data, stack)
    text, variables = _text_and_variables(compiled, stack)
    values |= {name: _secret(name, secrets) for name in variables}
    lines = [f"{name}={shlex.quote(value) if value else ''}\n" for name, value in sorted(values.items())]
    files.write_atomic(directory / "deploy.env", "".join(lines), 0o600)
    files.write_atomic(directory / "stack.yml", text, 0o600)


def _empty(document: Mapping[str, Any]) -> set[str]:
    """Variables that are empty in some service: `docker stack` would use the deploying shell's value for them.

    Variables that the docker command itself reads are left out.
    """
    environments = (service.get("environment", {}) for service in document["services"].values())
    empty = {key for environment in environments for key, value in environment.items() if value == ""}
    return {key for key in empty if key not in ("HOME", "PATH") and not key.startswith("DOCKER_")}


def _name(compiled: Compiled, content: ContentFile, data: bytes, stack: str) -> str:
    """The name of the secret or config in the swarm."""
    written = compiled.document[content.path.partition("/")[0]][content.key]
    name = object_name(stack, content.key, data, written.get("template_driver", ""))
    if len(name) > MAXIMUM_OBJECT_NAME:
        raise UsageError(
            f"{content.key}: {name} is longer than the {MAXIMUM_OBJECT_NAME} characters that the engine allows: choose "
            "a shorter name for it or for the project, or set one with name:"
        )
    return name


def _content(content: ContentFile, secrets: Mapping[str, str]) -> bytes:
    if content.source is not None:
        try:
            data = files.read_text(content.source)
        except UsageError as error:
            problem = error.problem
            raise UsageError(problem.what, problem.hint, key=problem.key, where=content.position) from None
    else:
        data = placeholder.substitute(content.text or "", lambda name: _secret(name, secrets)).encode()
    limit = MAXIMUM_BYTES[content.path.partition("/")[0]]
    if len(data) > limit:
        raise UsageError(f"{content.key}: has {len(data)} bytes; Swarm allows at most {limit} in one of {content.path}")
    return data


def _secret(name: str, secrets: Mapping[str, str]) -> str:
    try:
        return secrets[name]
    except KeyError:
        raise UsageError(f"{name}: the stack needs a value for this secret: run ./open-balena.sh config") from None


def _header(compiled: Compiled, variables: list[str], stack: str) -> str:
    stack = stack if stack.isprintable() else ascii(stack)  # a line break, also U+2028, would end the comment
    lines = [f"# The compiled stack {stack}. Do not edit it: change the Compose file and compile again.\n"]
    lines += [
        f"# Node label to set: docker node update --label-add {label}={value} NODE\n"
        for label, value in sorted(compiled.node_labels.items())
    ]
    if compiled.content_files:
        lines.append(f"# The names of its secrets and configs contain the stack's name: deploy it as {stack}.\n")
    if variables or compiled.content_files or (compiled.interpolated and _empty(compiled.document)):
        lines.append("# Before the deploy: set -a; . ./deploy.env; set +a\n")
    return "".join(lines)


def _escaped(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with dollar signs doubled, except in the names of its secrets and configs, which are variables."""
    escaped: dict[str, Any] = _doubled(document)
    for section in ("secrets", "configs"):
        for key, item in document.get(section, {}).items():
            if "file" in item:
                escaped[section][key]["name"] = item["name"]
    return escaped


def _doubled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _doubled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_doubled(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) and "$" in value else value

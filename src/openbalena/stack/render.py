"""A compiled stack as a directory that plain `docker stack deploy` takes."""

import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from openbalena import files, placeholder
from openbalena.errors import UsageError
from openbalena.stack.compiler import Compiled
from openbalena.stack.content import ContentFile
from openbalena.stack.emit import dump

MAXIMUM_BYTES = {"secrets": 500 * 1024, "configs": 1000 * 1024}  # swarmkit: MaxSecretSize, MaxConfigSize


def stack_file(compiled: Compiled) -> str:
    """The stack as text: marks of secrets become `${NAME}`, every other dollar sign `$$`."""
    document = compiled.document
    if compiled.interpolated:
        document = _escaped(document)
    return _header(compiled) + dump(document)


def variables(compiled: Compiled) -> list[str]:
    """The secret variables that the stack itself names, sorted."""
    found: set[str] = set()
    _walk(compiled.document, lambda text: found.update(placeholder.names(text)))
    return sorted(found)


def render(compiled: Compiled, directory: Path, secrets: Mapping[str, str]) -> None:
    """Write the stack, its secrets and configs and `deploy.env` into `directory` (mode 700), replacing all of it.

    The directory is made beside the old one and put in its place at the end, so a kill never leaves half of one; what
    it does leave beside, the next call removes. Raises UsageError for a file that is not there or too large, and for a
    secret without a value.
    """
    directory = directory.absolute()
    if directory.exists() and any(directory.iterdir()) and not (directory / "stack.yml").exists():
        raise UsageError(f"{directory}: is not empty and no rendered stack: choose another directory")
    directory.parent.mkdir(parents=True, exist_ok=True)
    made, old = (directory.with_name(f".{directory.name}.{state}") for state in ("new", "old"))
    for leftover in (made, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        _fill(compiled, files.private_directory(made), secrets)
        if directory.exists():
            directory.rename(old)
        made.rename(directory)
    finally:
        for leftover in (made, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _fill(compiled: Compiled, directory: Path, secrets: Mapping[str, str]) -> None:
    for name in ("secrets", "configs"):
        files.private_directory(directory / name)
    for content in compiled.content_files:
        files.write_atomic(directory / content.path, _content(content, secrets), 0o600)
    lines = [f"{name}={shlex.quote(_secret(name, secrets))}\n" for name in variables(compiled)]
    files.write_atomic(directory / "deploy.env", "".join(lines), 0o600)
    files.write_atomic(directory / "stack.yml", stack_file(compiled), 0o600)


def _content(content: ContentFile, secrets: Mapping[str, str]) -> bytes:
    if content.source is not None:
        try:
            data = content.source.read_bytes()
        except OSError as error:
            raise UsageError(f"{content.source}: cannot be read for {content.key}: {error.strerror}") from None
    else:
        data = placeholder.fill(content.text or "", lambda name: _secret(name, secrets)).encode()
    limit = MAXIMUM_BYTES[content.path.partition("/")[0]]
    if len(data) > limit:
        raise UsageError(f"{content.key}: has {len(data)} bytes; Swarm holds at most {limit} in one of {content.path}")
    return data


def _secret(name: str, secrets: Mapping[str, str]) -> str:
    try:
        return secrets[name]
    except KeyError:
        raise UsageError(f"{name}: the stack needs a value for this secret: run ./open-balena.sh config") from None


def _header(compiled: Compiled) -> str:
    lines = [f"# The stack {compiled.name}, compiled. Change the Compose file instead and compile again.\n"]
    lines += [
        f"# Node label to set: docker node update --label-add {label}={value} NODE\n"
        for label, value in sorted(compiled.node_labels.items())
    ]
    if compiled.interpolated and variables(compiled):
        lines.append("# Before the deploy: set -a; . ./deploy.env; set +a\n")
    return "".join(lines)


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        # A content file's name is ours: the variable in it is meant.
        return {key: _escaped_content(item) if key in ("secrets", "configs") and _declares(item) else _escaped(item)
                for key, item in value.items()}  # fmt: skip
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, str):
        return placeholder.fill(value.replace("$", "$$"), lambda name: f"${{{name}}}")
    return value


def _declares(section: Any) -> bool:
    return isinstance(section, dict)


def _escaped_content(section: dict[str, Any]) -> dict[str, Any]:
    return {
        key: {**_escaped(item), "name": item["name"]} if "file" in item else _escaped(item)
        for key, item in section.items()
    }


def _walk(value: Any, see: Callable[[str], None]) -> None:
    if isinstance(value, dict):
        for item in value.values():
            _walk(item, see)
    elif isinstance(value, list):
        for item in value:
            _walk(item, see)
    elif isinstance(value, str):
        see(value)

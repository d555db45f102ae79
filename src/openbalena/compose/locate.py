"""Which files, variables and profiles make up a Compose project: what `docker compose` takes from its options, the
process's environment, `.env` and the names of files.

Source: compose-go, cli/options.go; docker/compose, cmd/compose/compose.go.
"""

import os
import re
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from openbalena.base.errors import UsageError
from openbalena.compose import dotenv
from openbalena.compose.load import load
from openbalena.compose.paths import is_file
from openbalena.compose.project import Project

STANDARD_INPUT = Path("-")
NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDES = (
    "compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml",
)  # fmt: skip
# The Compose Specification's rule for names, which Swarm's rule for names of stacks allows as well.
_PROJECT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class Request:
    """What the user asks for. `argument` is one project: a file, a directory, or `-` for standard input.

    `files` are merged in order. Without any of them the project is looked for as `docker compose` does. `env_files` are
    read in place of `.env`. `profiles` are in place of COMPOSE_PROFILES, `name` of COMPOSE_PROJECT_NAME.
    """

    argument: Path | None = None
    files: tuple[Path, ...] = ()
    env_files: tuple[Path, ...] = ()
    profiles: tuple[str, ...] = ()
    name: str = ""
    directory: Path | None = None


@dataclass(frozen=True)
class Located:
    """The files of one project, in the order in which they are merged, and what they are loaded with.

    `streams` has the content of those files that can be read only once. `warnings` are about files left out.
    """

    files: tuple[Path, ...]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    profiles: tuple[str, ...] = ()
    streams: Mapping[Path, bytes] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def load(self) -> Project:
        """The project. Raises UsageError as `compose.load` does."""
        return load(
            self.files,
            environment=self.environment,
            profiles=self.profiles,
            directory=self.directory,
            streams=self.streams,
        )


def locate(request: Request, process: Mapping[str, str]) -> Located:
    """The project that `request` means, in the working directory and with the environment `process`.

    Raises UsageError if there is none, and for a missing file, an unreadable `.env` and an invalid name.
    """
    if request.argument is not None and request.files:
        raise UsageError(f"{request.argument}: name the project's files either all with -f or as the argument")
    if request.name and not _PROJECT_NAME.fullmatch(request.name):
        raise UsageError(f"{request.name!r}: a project's name has lower-case letters, digits, - and _, and no other")
    if request.argument is not None and request.argument.is_dir():
        start, process_files = request.argument, ""
        files: tuple[Path, ...] = ()
    else:
        files = request.files if request.argument is None else (request.argument,)
        start, process_files = _parent(files), process.get("COMPOSE_FILE", "")
    environment = _environment(request.directory or start, request.env_files, process)
    warnings: list[str] = []
    if not files:
        # A directory as the argument is as if the command had been called there, with nothing in its environment.
        named = process_files or ("" if "COMPOSE_FILE" in process else environment.get("COMPOSE_FILE", ""))
        files = _listed(named, start, environment) if named else _found(start, request.argument, warnings)
    directory = request.directory or _parent(files)
    if not request.env_files and directory.absolute() != (request.directory or start).absolute():
        environment = {**_environment(directory, (), process), **environment}
    if request.name:
        environment["COMPOSE_PROJECT_NAME"] = request.name
    streams = {path: content for path in dict.fromkeys(files) if (content := _stream(path)) is not None}
    _require_files(path for path in files if path not in streams)
    return Located(files, directory, environment, _profiles(request, environment), streams, tuple(warnings))


def _parent(files: tuple[Path, ...]) -> Path:
    """The project's directory: the first file's, and the working directory for a stream."""
    for path in files:
        if path != STANDARD_INPUT and not _is_pipe(path):
            return path.parent
    return Path()


def _environment(directory: Path, env_files: Iterable[Path], process: Mapping[str, str]) -> dict[str, str]:
    """The variables of `env_files`, by default of `.env`, below those of the process; later files win."""
    paths = list(env_files) or [Path(name) for name in process.get("COMPOSE_ENV_FILES", "").split(",") if name]
    if not paths and is_file(directory / ".env") and process.get("COMPOSE_DISABLE_ENV_FILE", "") not in ("1", "true"):
        paths = [directory / ".env"]
    values: dict[str, str] = {}
    for path in paths:
        values |= dotenv.read_file(path, {**values, **process}).values
    return {**values, **process}


def _listed(named: str, start: Path, environment: Mapping[str, str]) -> tuple[Path, ...]:
    separator = environment.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
    return tuple(start / name if name != "-" else STANDARD_INPUT for name in named.split(separator) if name)


def _found(start: Path, argument: Path | None, warnings: list[str]) -> tuple[Path, ...]:
    """The Compose file and its override: in the directory named, else in the working directory or one above it."""
    for directory in (start,) if argument is not None else (start, *start.absolute().parents):
        present = [directory / name for name in NAMES if is_file(directory / name)]
        if present:
            overrides = [directory / name for name in OVERRIDES if is_file(directory / name)]
            for group in (present, overrides):
                warnings += [f"{other} is not read, as {group[0]} is there: name both with -f" for other in group[1:]]
            return (present[0], *overrides[:1])
    searched = "here and in each directory above" if argument is None else f"in {argument}"
    raise UsageError(f"no Compose file {searched}: expected {', '.join(NAMES)}: name the file")


def _profiles(request: Request, environment: Mapping[str, str]) -> tuple[str, ...]:
    named = environment.get("COMPOSE_PROFILES", "").split(",")
    return request.profiles or tuple(name.strip() for name in named if name.strip())


def _is_pipe(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False


def _stream(path: Path) -> bytes | None:
    """The content of standard input or of a pipe, which a shell makes for `<(command)`; None for any other file."""
    if path == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    return path.read_bytes() if _is_pipe(path) else None


def _require_files(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            missing = not path.exists()
        except OSError:
            continue  # such as a name that is too long: reading it says so
        if missing:
            raise UsageError(f"{path}: no such file")

"""Distributing locally built images to the nodes with `docker save` and `docker load`, only where they are missing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.images.build import image_ids

_TRANSFER = 1800
_CHUNK = 1 << 20


@dataclass(frozen=True)
class NodeImages:
    """A node that answered: `node_id` is its id in the swarm, `ids` are the ids of its images by name."""

    engine: Engine
    hostname: str
    node_id: str
    ids: dict[str, str]


def query_nodes(engines: Iterable[Engine], names: list[str]) -> tuple[list[NodeImages], list[str]]:
    """Which of the images `names` each node has, each node once, and a message for each engine that did not answer."""

    def query(engine: Engine) -> NodeImages | str:
        try:
            with engine.client() as client:
                info = client.info()
            return NodeImages(engine, info["Name"], info["Swarm"].get("NodeID", ""), image_ids(engine, names))
        except OperationError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(query, engines))
    nodes = {
        (answer.node_id or answer.engine.name): answer for answer in reversed(answers) if isinstance(answer, NodeImages)
    }
    return list(reversed(nodes.values())), [answer for answer in answers if isinstance(answer, str)]


def missing_builds(source: dict[str, str], node: NodeImages) -> list[str]:
    """The names of the images (name to id in `source`) that `node` does not have, or has with another id."""
    return [name for name, identifier in source.items() if node.ids.get(name) != identifier]


def transfer(source: Engine, names: list[str], targets: list[Engine]) -> list[str]:
    """Stream the images from `source` to all of `targets` at once; returns a message for each target that failed.

    One `docker save` feeds every `docker load`: the slowest node sets the pace, and nothing is stored on disk. Raises
    OperationError if `docker save` fails.
    """
    failed = []
    with ExitStack() as stack:
        errors = stack.enter_context(TemporaryFile())
        save = subprocess.Popen(
            source.command("save", *names),
            env=source.process_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        stack.callback(_end, save)
        loads = [_Load(target, stack.enter_context(TemporaryFile()), stack) for target in targets]
        if save.stdout is None:
            raise AssertionError("Popen with a pipe has a stdout")
        with ThreadPoolExecutor(len(loads)) as pool:
            while chunk := save.stdout.read(_CHUNK):
                list(pool.map(_Load.write, loads, [chunk] * len(loads)))
                if all(load.broken for load in loads):
                    break
        save.stdout.close()
        failed = [text for load in loads if (text := load.finish())]
        if save.wait(timeout=_TRANSFER) and not failed:
            errors.seek(0)
            raise OperationError(f"{source.name}: docker save: {errors.read().decode(errors='replace').strip()}")
    return failed


class _Load:
    """A `docker load` on one node."""

    def __init__(self, target: Engine, output: IO[bytes], stack: ExitStack) -> None:
        self.target = target
        self.broken = False
        self._output = output
        self._process = subprocess.Popen(
            target.command("load", "--quiet"),
            env=target.process_environment(),
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        stack.callback(_end, self._process)

    def write(self, chunk: bytes) -> None:
        if self.broken or self._process.stdin is None:
            return
        try:
            self._process.stdin.write(chunk)
        except OSError:
            self.broken = True

    def finish(self) -> str:
        """Wait for the command to end; returns an error message, empty on success."""
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
        except OSError:
            self.broken = True
        code = self._process.wait(timeout=_TRANSFER)
        if not code and not self.broken:
            return ""
        self._output.seek(0)
        return f"{self.target.name}: docker load: {self._output.read().decode(errors='replace').strip()}"


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()

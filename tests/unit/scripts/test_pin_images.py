"""scripts/pin-images against a real registry, in a copy of the checkout's definitions."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from debian import program

from openbalena.base.project import ROOT

# The second is the beginning of the first.
TAG, SHORTER = "49.0.8", "49.0"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry on a free port of the loopback, its host and port."""
    directory = tmp_path_factory.mktemp("registry")
    config = directory / "config.yml"
    storage = f"storage: {{filesystem: {{rootdirectory: {directory / 'data'}}}}}"
    config.write_text(f"version: 0.1\n{storage}\nhttp: {{addr: '127.0.0.1:0'}}\n")
    binary = program("docker-registry", "usr/bin/docker-registry", "bookworm")
    log = directory / "log"
    with log.open("w") as stream, subprocess.Popen([binary, "serve", config], stdout=stream, stderr=stream) as running:
        try:
            yield _address(log)
        finally:
            running.terminate()


def _address(log: Path) -> str:
    for _ in range(100):
        if found := re.search(r"listening on ([\d.]+:\d+)", log.read_text()):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"no registry after 10 s: {log.read_text()}")


@pytest.fixture(scope="module")
def image(registry: str) -> tuple[str, str]:
    """An image index in the registry: its name and its digest."""
    digest = [tag_as(registry, tag) for tag in (TAG, SHORTER)][0]
    return f"{registry}/api:{TAG}", digest


def tag_as(registry: str, tag: str) -> str:
    """Give the registry an empty image index as api:`tag`; its digest."""
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}
    answer = httpx.put(
        f"http://{registry}/v2/api/manifests/{tag}",
        content=json.dumps(index),
        headers={"Content-Type": str(index["mediaType"])},
    )
    assert answer.status_code == 201, answer.text
    return str(answer.headers["Docker-Content-Digest"])


@pytest.fixture
def checkout(tmp_path: Path, image: tuple[str, str]) -> Path:
    """A copy of the checkout in which the api's image is the registry's, and `docker` is buildx alone."""
    copy = tmp_path / "checkout"
    for name in ("docs", "images", "scripts", "src"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("docker-compose.yml", "open-balena.sh", "requirements.lock"):
        shutil.copy2(ROOT / name, copy / name)
    for name in ("docker-compose.yml", "src/openbalena/settings/variables.yml"):
        text, count = re.subn(r"balena/open-balena-api:[^}\"]+", image[0], (copy / name).read_text())
        assert count == 1
        (copy / name).write_text(text)
    # The test's own environment, as the launcher expects one.
    _executable(copy / ".venv" / "bin" / "python", f'exec {sys.executable} "$@"')
    shutil.copy2(ROOT / "requirements.lock", copy / ".venv")
    buildx = program("docker-buildx", "usr/libexec/docker/cli-plugins/docker-buildx")
    _executable(tmp_path / "bin" / "docker", f'test "$1" = buildx && shift && exec {buildx} "$@"')
    return copy


def _executable(path: Path, command: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)


def _lines(checkout: Path) -> list[str]:
    return (checkout / "docker-compose.yml").read_text().splitlines()


def pin(checkout: Path, *names: str) -> "subprocess.CompletedProcess[str]":
    path = f"{checkout.parent / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        [checkout / "scripts" / "pin-images", *names],
        env={**os.environ, "PATH": path, "HOME": str(checkout.parent)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_name_gets_the_digest_that_its_registry_says(checkout: Path, image: tuple[str, str]) -> None:
    name, digest = image
    done = pin(checkout, name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0] == f"{name}@{digest}"
    files = ("docker-compose.yml", "docker-stack.yml", "docs/settings.md", "src/openbalena/settings/variables.yml")
    for file in files:
        assert (checkout / file).read_text().count(name) == (checkout / file).read_text().count(f"{name}@{digest}") == 1


def test_a_longer_name_is_another_name(checkout: Path, image: tuple[str, str]) -> None:
    done = pin(checkout, image[0].replace(TAG, SHORTER))
    assert done.returncode == 0, done.stderr
    assert "@sha256:" not in next(line for line in _lines(checkout) if TAG in line)


def test_what_cannot_be_asked_stays_and_is_named(checkout: Path, image: tuple[str, str]) -> None:
    before = (checkout / "docker-compose.yml").read_text()
    missing = f"{image[0]}-missing"
    done = pin(checkout, missing)
    assert done.returncode == 1
    assert f"error: {missing}: cannot get its digest from the registry" in done.stderr
    assert (checkout / "docker-compose.yml").read_text() == before

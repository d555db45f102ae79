"""scripts/check-upstream on a small checkout of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from openbalena.base.project import ROOT

Check = Callable[..., "subprocess.CompletedProcess[str]"]

COMPOSE = """\
x-base: &base
  env_file: [.env]
services:
  api:
    <<: *base
    image: example/api:1@sha256:0000000000000000000000000000000000000000000000000000000000000000
    environment: {PORT: 80, KEEPS: same, TOKEN: "${TOKEN}"}
    cap_add: [SYS_ADMIN]
    healthcheck: {test: /check, interval: 45s}
  old:
    image: example/old:1
  haproxy:
    build: src/haproxy
  haproxy-sidecar:
    image: example/sidecar:1
    environment: {ALIASES: "api,logs"}
"""


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A checkout, with a `.env` that nothing may read."""
    directory = tmp_path / "open-balena"
    (directory / "src" / "haproxy").mkdir(parents=True)
    (directory / "docker-compose.yml").write_text(COMPOSE)
    (directory / "VERSION").write_text("1.0.0\n")
    (directory / ".env").write_text("TOKEN=let-me-in\nFROM_THE_FILE=1\n")
    (directory / "src" / "haproxy" / "Dockerfile").write_text("FROM example/build AS build\nFROM example/haproxy:1\n")
    (directory / "src" / "haproxy" / "haproxy.cfg").write_text("global\n")
    return directory


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """The script, in a checkout of ours whose Python environment is the tests'; its facts are a file of the test's."""
    ours = tmp_path / "ours"
    (ours / "scripts").mkdir(parents=True)
    script = shutil.copy(ROOT / "scripts" / "check-upstream", ours / "scripts")
    (ours / "src").symlink_to(ROOT / "src")
    (ours / ".venv").symlink_to(sys.prefix)
    known = tmp_path / "known.yml"
    known.write_text("version: none\nservices: {}\n")

    def run(*words: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [script, "--known", known, *words]
        environment = {**os.environ, "TOKEN": "from-the-shell"}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
        )

    return run


def test_what_was_written_does_not_differ(check: Check, theirs: Path, tmp_path: Path) -> None:
    assert check("--update", theirs).returncode == 1
    again = check(theirs)
    assert (again.returncode, again.stdout) == (0, "open-balena 1.0.0 compared with 1.0.0: no differences\n")
    relative = check("open-balena")
    assert (relative.returncode, relative.stdout) == (0, again.stdout)
    facts = (tmp_path / "known.yml").read_text()
    assert "aliases.logs.<DNS_TLD>: 'yes'" in facts
    assert "image: example/haproxy:1" in facts
    assert not [word for word in ("let-me-in", "from-the-shell", "FROM_THE_FILE") if word in facts]


def test_what_is_new_gone_and_changed(check: Check, theirs: Path) -> None:
    check("--update", theirs)
    next_version = (
        COMPOSE.replace("api:1@", "api:2@")
        .replace("PORT: 80", "HOST: api")
        .replace("interval: 45s", "timeout: 10s")
        .replace("  old:\n    image: example/old:1\n", "  fresh:\n    image: example/fresh:1\n")
    )
    (theirs / "docker-compose.yml").write_text(next_version)
    (theirs / "src" / "haproxy" / "haproxy.cfg").write_text("defaults\n")
    (theirs / "VERSION").write_text("2.0.0\n")
    done = check(theirs)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[:6] == [
        "api",
        "  new      environment.HOST: api",
        "  gone     environment.PORT: 80",
        "  changed  healthcheck.interval: 45s -> 30s",
        "  changed  healthcheck.timeout: 30s -> 10s",
        "  changed  image: example/api:1 -> example/api:2",
    ]
    assert lines[6:10] == ["fresh", "  the service is new", "  new      image: example/fresh:1",
                           "  new      stop_grace_period: 10s"]  # fmt: skip
    assert lines[10].startswith("haproxy")
    assert lines[11].startswith("  changed  build.haproxy.cfg: ")
    assert lines[12:] == ["old", "  the service is gone", "open-balena 2.0.0 compared with 1.0.0: 10 differences"]
    document = json.loads(check("--json", theirs).stdout)
    assert (document["version"], document["known"]) == ("2.0.0", "1.0.0")
    assert document["services"]["api"][0] == {"fact": "environment.HOST", "known": None, "now": "api"}
    assert document["services"]["old"] == [{"fact": "service", "known": None, "now": "gone"}]


def test_wrong_use(check: Check, theirs: Path, tmp_path: Path) -> None:
    for words, said in (
        (["nowhere"], "docker-compose.yml: cannot be read: No such file"),
        ([], "the following arguments are required: DIR"),
        ([theirs, "--known", theirs / "VERSION"], "VERSION: expected a file as written by --update"),
    ):
        done = check(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
    (theirs / "src" / "haproxy" / "Dockerfile").unlink()
    done = check(theirs)
    assert done.returncode == 2
    assert "expected a complete checkout of open-balena" in done.stderr

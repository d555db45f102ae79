"""The scripts of a backup, run by this machine's sh with a real restic repository and a real PostgreSQL."""

import base64
import gzip
import json
import os
import re
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from restic import Ended, Machine, programs

from openbalena.backup import progress, scripts
from openbalena.base.names import BACKUP_SECRETS, RESTORE_MARK

REPOSITORY, LOGIN, MANIFEST = BACKUP_SECRETS
OPTIONS = scripts.options("my.example.com", ["set=s1", "part=p"])


def settings(machine: Machine, password: str = "a password") -> None:
    """The secret that every script reads."""
    address = machine.directory / "repository"
    machine.secret(REPOSITORY, f"export RESTIC_REPOSITORY='{address}' RESTIC_PASSWORD='{password}'\n")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    settings(made)
    (tmp_path / "volumes" / "s3-data").mkdir(parents=True)
    return made


@pytest.fixture
def repository(machine: Machine) -> Machine:
    """With an empty repository."""
    restic(machine, "init")
    return machine


def restic(machine: Machine, *words: str) -> str:
    environment = {
        **os.environ,
        "PATH": programs("restic"),
        "RESTIC_REPOSITORY": str(machine.directory / "repository"),
        "RESTIC_PASSWORD": "a password",
        "RESTIC_CACHE_DIR": str(machine.directory / "cache"),
    }
    return subprocess.run(
        ["restic", *words], env=environment, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def summary(ended: Ended) -> dict[str, object]:
    assert ended.code == 0, ended
    said: dict[str, object] = json.loads(ended.lines[-1].removeprefix("result "))
    return said


def listed(machine: Machine) -> list[dict[str, object]]:
    ended = machine.run(scripts.LIST)
    assert ended.code == 0, ended
    found: list[dict[str, object]] = json.loads(gzip.decompress(base64.b64decode("".join(ended.lines))))
    return found


def test_a_volume_is_saved_with_its_tags_and_nothing_is_read_twice(repository: Machine) -> None:
    volume = repository.directory / "volumes" / "s3-data"
    (volume / "object").write_bytes(os.urandom(100_000))
    (volume / ".minio.sys" / "tmp").mkdir(parents=True)
    (volume / ".minio.sys" / "tmp" / "half").write_bytes(os.urandom(100_000))
    first = summary(repository.run(scripts.save_volume("s3-data", OPTIONS)))
    assert first["total_bytes_processed"] == 100_000
    second = summary(repository.run(scripts.save_volume("s3-data", OPTIONS)))
    assert second["files_unmodified"] == 1 and second["total_bytes_processed"] == 100_000
    (one, other) = listed(repository)
    assert one["hostname"] == "my.example.com" and one["tags"] == ["openbalena", "set=s1", "part=p"]
    assert str(other["id"]).startswith(str(second["snapshot_id"]))


def test_an_empty_volume_is_no_data_unless_it_may_be(repository: Machine) -> None:
    volume = repository.directory / "volumes" / "s3-data"
    (volume / "lost+found").mkdir()
    (volume / RESTORE_MARK).write_text("a backup done")
    ended = repository.run(scripts.save_volume("s3-data", OPTIONS))
    assert ended.code == 1 and ended.lines == ["it is empty, or was missing, although its service has run there"]
    assert listed(repository) == []
    assert summary(repository.run(scripts.save_volume("s3-data", OPTIONS, may_be_empty=True)))
    shutil.rmtree(volume)
    ended = repository.run(scripts.save_volume("s3-data", OPTIONS))
    assert ended.code != 0 and "No such file or directory" in ended.lines[-1]


def test_a_file_that_vanishes_is_no_error_and_one_that_cannot_be_read_is(
    repository: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """restic sees what the file system tells it: a program before it in the PATH takes the file away in between."""
    volume = repository.directory / "volumes" / "s3-data"
    (volume / "object").write_text("kept")
    real = shutil.which("restic", path=programs("restic"))
    (tmp_path / "bin").mkdir()

    def says(error: str) -> None:
        told = '{"message_type":"error","error":{"message":"' + error + '"},"during":"archival","item":"/x"}'
        program = tmp_path / "bin" / "restic"
        program.write_text(f'#!/bin/sh\n{real} "$@" || exit $?\n[ "$1" = cat ] || {{ echo \'{told}\' >&2; exit 3; }}\n')
        program.chmod(0o755)

    monkeypatch.setattr("restic.programs", lambda *names: f"{tmp_path}/bin:{os.environ['PATH']}")
    says("lstat /x: no such file or directory")
    ended = repository.run(scripts.save_volume("s3-data", OPTIONS))
    assert ended.code == 0 and ended.lines[0] == "vanished 1" and summary(ended)["total_bytes_processed"] == 4
    says("open /x: input/output error")
    ended = repository.run(scripts.save_volume("s3-data", OPTIONS))
    assert ended.code == 1 and "input/output error" in ended.lines[-1]


def test_a_volume_that_takes_a_while_tells_how_far_it_is(repository: Machine) -> None:
    (repository.directory / "volumes" / "s3-data" / "object").write_bytes(os.urandom(1 << 20))
    ended = repository.run(scripts.save_volume("s3-data", f"{OPTIONS} --limit-upload 160"))
    assert summary(ended)["total_bytes_processed"] == 1 << 20
    told = [progress.describe(ended.lines[: number + 1]) for number in range(len(ended.lines) - 1)]
    assert told and all(re.match(r"[\d.]+ [KM]?i?B of 1 MiB", each) for each in told), ended.lines


def test_what_the_repository_refuses_is_told_while_it_is_tried_again(
    repository: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """restic says so on standard error, and goes on for 15 minutes."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "restic"
    told = "Save(<data/0>) returned error, retrying after 1.5s: unexpected HTTP response (500): no space left"
    program.write_text(f"#!/bin/sh\n[ $1 = cat ] || {{ echo '{told}' >&2; echo 'Fatal: no more' >&2; exit 1; }}\n")
    program.chmod(0o755)
    monkeypatch.setattr("restic.programs", lambda *names: f"{tmp_path}/bin:{os.environ['PATH']}")
    ended = repository.run(scripts.save_volume("s3-data", OPTIONS, may_be_empty=True))
    assert ended.code == 1 and ended.lines[-1] == "Fatal: no more"
    error = "retrying after the repository's error: unexpected HTTP response (500): no space left"
    assert progress.describe(ended.lines[:1]) == error


def test_a_secret_is_saved_as_a_file(repository: Machine) -> None:
    repository.secret(MANIFEST, '{"format": 1}')
    snapshot = str(summary(repository.run(scripts.save_file(MANIFEST, "manifest.json", OPTIONS)))["snapshot_id"])
    assert restic(repository, "dump", snapshot, "manifest.json") == '{"format": 1}'
    ended = repository.run(scripts.dump_manifest(snapshot))
    assert gzip.decompress(base64.b64decode("".join(ended.lines))) == b'{"format": 1}'


@pytest.mark.parametrize(
    "script",
    [
        scripts.LIST,
        scripts.dump_manifest("0123"),
        scripts.save_volume("s3-data", OPTIONS),
        scripts.save_file(MANIFEST, "manifest.json", OPTIONS),
    ],
)
def test_only_the_first_part_creates_a_repository(script: str, machine: Machine) -> None:
    assert machine.run(script).code == scripts.NO_REPOSITORY
    assert not (machine.directory / "repository").exists()


def test_a_wrong_password_is_no_missing_repository(repository: Machine) -> None:
    settings(repository, "another password")
    ended = repository.run(scripts.LIST)
    assert ended.code == 1 and "wrong password" in ended.lines[0]


def test_a_store_that_cannot_be_reached_is_no_missing_repository(machine: Machine) -> None:
    """restic would retry for a quarter of an hour."""
    address = f"s3:http://127.0.0.1:{free_port()}/bucket"
    keys = "RESTIC_PASSWORD=x AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x"
    machine.secret(REPOSITORY, f"export RESTIC_REPOSITORY={address} {keys}\n")
    ended = machine.run(scripts.LIST.replace("timeout 60", "timeout 3"))
    (line,) = ended.lines
    assert ended.code == 1 and line.startswith("the repository could not be opened within 60 s: "), ended
    assert line.endswith("connection refused")


@pytest.mark.parametrize(
    ("code", "said", "missing"),
    [
        (
            10,
            "Fatal: repository does not exist: unable to open config file: Stat: The specified key does not exist.",
            True,
        ),
        (1, "Fatal: unable to open config file: stat /x/config: no such file or directory", True),
        (1, "Fatal: unable to open config file: <config/> does not exist", True),
        (1, "Fatal: unable to open config file: unexpected HTTP response (401): 401 Unauthorized", False),
        (1, "Fatal: unable to open config file: Stat: Access Denied.", False),
        (12, "Fatal: wrong password or no key found", False),
    ],
)
def test_what_restic_says_of_a_repository_that_is_not_there(
    code: int, said: str, missing: bool, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "restic"
    program.write_text(f"#!/bin/sh\necho '{said}\nIs there a repository at the following location?' >&2\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setattr("restic.programs", lambda *names: f"{tmp_path}/bin:{os.environ['PATH']}")
    ended = machine.run(scripts.LIST)
    assert ended == (Ended(scripts.NO_REPOSITORY, []) if missing else replace(ended, code=1))
    assert missing or ended.lines[0] == said


def test_a_directory_is_served_to_which_only_can_be_added(repository: Machine) -> None:
    address = f"rest:http://{scripts.USER}:word@127.0.0.1:{(port := free_port())}/"
    keys = "export RESTIC_PASSWORD='a password' OPENBALENA_SERVER_PASSWORD=word"
    repository.secret(REPOSITORY, f"{keys} RESTIC_REPOSITORY='{address}'\n")
    # What a full disk, or the end of an earlier server, leaves; restic would refuse to save anything.
    for kind in ("index", "snapshots"):
        (repository.directory / "repository" / kind / ("0" * 64)).write_bytes(b"half")
    text = repository.text(scripts.SERVE).replace(str(scripts.PORT), str(port))
    environment = {**os.environ, "PATH": programs("rclone")}
    server = subprocess.Popen(["sh", "-c", text], env=environment, stderr=subprocess.DEVNULL)
    try:
        (repository.directory / "volumes" / "s3-data" / "object").write_text("kept")
        saved = summary(repository.run(scripts.save_volume("s3-data", OPTIONS)))
        assert saved["total_bytes_processed"] == 4
        options = {"RESTIC_REPOSITORY": address, "RESTIC_PASSWORD": "a password", "PATH": programs("restic")}
        forgotten = subprocess.run(
            ["restic", "--no-cache", "forget", str(saved["snapshot_id"])],
            env={**os.environ, **options},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "403" in forgotten.stderr, forgotten
        assert len(listed(repository)) == 1
        assert (repository.directory / "repository" / "damaged" / ("0" * 64)).exists()
    finally:
        server.terminate()
        server.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

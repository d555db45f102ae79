"""A whole set in a real repository: what is listed afterwards, and what an interrupted one leaves."""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import postgres
import pytest
import restic_repository
from backup_facts import MANIFEST
from restic import Machine, programs

from openbalena.backup import results, retention, saving, scripts, sets
from openbalena.backup.manifest import Manifest, from_text
from openbalena.backup.retention import Keep
from openbalena.backup.saving import SetOptions, Step
from openbalena.base.errors import OperationError
from openbalena.base.names import BACKUP_SECRETS
from openbalena.swarm.job import JobResult


@dataclass(frozen=True)
class Here:
    """Runs scripts on this machine; the part `broken` fails before it begins, and what runs at `end` is killed."""

    machine: Machine
    broken: str = ""
    end: float | None = None

    def run(self, step: Step) -> JobResult:
        if step.part == self.broken:
            return JobResult(False, ("the node was lost",), exit_code=1)
        for name, content in step.secrets.items():
            self.machine.secret(name, content)
            (self.machine.directory / "secrets" / name).chmod(0o600)
        ended = self.machine.run(step.script, None if self.end is None else max(self.end - time.monotonic(), 0.01))
        return JobResult(ended.code == 0, tuple(ended.lines), exit_code=ended.code)


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as made:
        made.sql('CREATE TABLE migration ("model name" text, "executed migrations" jsonb)')
        made.sql("""INSERT INTO migration VALUES ('resin', '["00001"]')""")
        yield made


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    restic_repository.make(tmp_path / "repository")
    made.secret(BACKUP_SECRETS[0], f"export RESTIC_REPOSITORY='{tmp_path}/repository' RESTIC_PASSWORD='a password'\n")
    made.secret("settings.tar.gz", "the settings")
    (tmp_path / "volumes" / "s3-data").mkdir(parents=True)
    (tmp_path / "volumes" / "s3-data" / "object").write_text("content")
    return made


def save(
    machine: Machine, server: postgres.Server, identifier: str, broken: str = "", end: float | None = None
) -> Manifest:
    options = SetOptions(identifier, "my.example.com")
    settings = {"EXTERNAL_POSTGRES": "true", "EXTERNAL_POSTGRES_PASSWORD": postgres.PASSWORD}
    settings |= {"EXTERNAL_POSTGRES_HOST": "127.0.0.1", "EXTERNAL_POSTGRES_PORT": str(server.port)}
    settings |= {"EXTERNAL_POSTGRES_DATABASE": "docker", "EXTERNAL_POSTGRES_USER": "docker"}
    steps = [
        saving.database_step(options, settings, []),
        Step("s3-data", scripts.save_volume("s3-data", options.of("s3-data"))),
        Step("settings", scripts.save_file("settings.tar.gz", "settings.tar.gz", options.of("settings"))),
    ]
    described = replace(MANIFEST, set=identifier)
    return saving.save_set(steps, Here(machine, broken, end), options, described, lambda _: None)


def remove(machine: Machine, keep: Keep, later: timedelta = timedelta(0)) -> retention.PrunePlan:
    plan = retention.plan_prune(listed(machine), keep, "my.example.com", datetime.now(UTC) + later)
    manifests = [each.manifest for each in plan.removed if each.manifest]
    script = scripts.remove_snapshots(manifests, [name for each in plan.removed for name in each.snapshots])
    ended = machine.run(script)
    assert ended.code == 0, ended
    return plan


def size(machine: Machine) -> int:
    return sum(path.stat().st_size for path in (machine.directory / "repository" / "data").rglob("*"))


def killed_restic(machine: Machine, *command: str) -> None:
    """It leaves its lock in the repository. restic knows that it has ended, since it ran on this machine."""
    repository = machine.directory / "repository"
    environment = {"RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": "a password", "PATH": programs("restic")}
    with subprocess.Popen(
        ["restic", "--no-cache", *command], env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as killed:
        while not list((repository / "locks").iterdir()):
            assert killed.poll() is None
            time.sleep(0.02)
        killed.kill()


def listed(machine: Machine) -> sets.Sets:
    return sets.read_sets(results.unpacked("".join(machine.run(scripts.LIST).lines)))


def test_a_set_is_listed_once_its_manifest_is_saved_and_read_back_as_it_was(
    machine: Machine, server: postgres.Server
) -> None:
    for part in ("s3-data", "settings", "manifest"):
        with pytest.raises(OperationError, match="so there is no new backup: the node was lost"):
            save(machine, server, f"without-{part}", part)
    assert listed(machine).backups == ()
    made = save(machine, server, "s1")
    found = listed(machine)
    assert [each.id for each in found.unfinished] == ["without-s3-data", "without-settings", "without-manifest"]
    (only,) = found.backups
    assert only.complete and only == found.find("latest") and only.bytes == made.bytes > 0
    assert only.parts == {name: part.snapshot for name, part in made.parts.items()}
    text = results.unpacked("".join(machine.run(scripts.dump_manifest(only.manifest)).lines))
    assert from_text(text).text() == made.text()
    assert made.rows == {"migration": 1} and made.parts["s3-data"].bytes == len("content")


def test_whole_sets_are_removed_with_their_data_although_a_killed_task_left_a_lock(
    machine: Machine, server: postgres.Server
) -> None:
    for number in range(2):
        (machine.directory / "volumes" / "s3-data" / "object").write_bytes(os.urandom(500_000))
        save(machine, server, f"s{number}")
        if not number:
            # It allows nobody else, and would take minutes.
            killed_restic(machine, "check", "--read-data", "--limit-download=1")
    with pytest.raises(OperationError):
        save(machine, server, "interrupted", "settings")
    killed_restic(machine, "backup", "--stdin")
    before = size(machine)
    plan = remove(machine, Keep(last=1))
    assert [each.id for each in plan.removed] == ["s0"] and plan.left == ("interrupted",)
    left = listed(machine)
    assert [each.id for each in left.backups] == ["s1"] and left.backups[0].complete
    assert before - size(machine) > 400_000
    assert [each.id for each in remove(machine, Keep(last=1), timedelta(days=2)).removed] == ["interrupted"]
    assert listed(machine) == sets.Sets(left.backups, ())


def test_a_removal_that_is_killed_leaves_no_set_that_looks_whole(
    machine: Machine, server: postgres.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        save(machine, server, f"s{number}")
    first = listed(machine).backups[0]
    (machine.directory / "bin").mkdir()
    real = shutil.which("restic", path=programs("restic"))
    program = machine.directory / "bin" / "restic"
    script = scripts.remove_snapshots([first.manifest], first.parts.values())
    program.write_text(f'#!/bin/sh\n{real} "$@" || exit $?\n[ "$1" != forget ] || kill -9 $PPID\n')
    program.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setattr("restic.programs", lambda *_: f"{program.parent}:{os.environ['PATH']}")
        assert machine.run(script).code == -9
    left = listed(machine)
    assert [each.id for each in left.backups] == ["s1"] and [each.id for each in left.unfinished] == ["s0"]
    assert len(left.unfinished[0].snapshots) == 3


def test_a_set_that_is_killed_at_random_points_is_none_and_a_rerun_completes_one(
    machine: Machine, server: postgres.Server
) -> None:
    began = time.monotonic()
    first = save(machine, server, "whole")
    duration = time.monotonic() - began
    draw, whole = random.Random(22), ["whole"]
    content = (machine.directory / "volumes" / "s3-data" / "object").stat()
    for number in range(10):
        # A little more than a run takes, so that some reach the end.
        end = time.monotonic() + draw.uniform(0, 1.1 * duration)
        with suppress(OperationError):
            save(machine, server, f"run-{number}", end=end)
            whole.append(f"run-{number}")
    assert len(whole) < 11, "none was killed"
    last = save(machine, server, "rerun")
    found = listed(machine)
    # One that was killed after its manifest was saved has everything, too.
    assert {*whole, "rerun"} <= {each.id for each in found.backups} and all(each.complete for each in found.backups)
    assert found.find("latest").id == "rerun" and last.rows == first.rows
    assert (machine.directory / "volumes" / "s3-data" / "object").stat() == content
    # The locks of what was killed are left.
    script = "restic --no-cache unlock --remove-all && restic --no-cache check --read-data"
    checked = machine.run(f". {scripts.SECRETS}/{BACKUP_SECRETS[0]}; {script}")
    assert checked.code == 0 and checked.lines[-1] == "no errors were found", checked


def test_a_repository_whose_creation_was_interrupted_is_told(machine: Machine, server: postgres.Server) -> None:
    """restic writes its key before its configuration."""
    machine.run(f". {scripts.SECRETS}/{BACKUP_SECRETS[0]}; restic init")
    (machine.directory / "repository" / "config").unlink()
    with pytest.raises(OperationError, match="if there are no backups in it, remove its directory keys"):
        save(machine, server, "s1")

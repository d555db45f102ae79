"""A whole set in a real repository: what is listed afterwards, and what an interrupted one leaves."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import postgres
import pytest
from backup_facts import MANIFEST
from restic import Machine

from openbalena.backup import results, saving, scripts, sets
from openbalena.backup.manifest import Manifest, from_text
from openbalena.backup.saving import SetOptions, Step
from openbalena.base.errors import OperationError
from openbalena.base.names import BACKUP_SECRETS
from openbalena.swarm.job import JobResult


@dataclass(frozen=True)
class Here:
    """Runs scripts on this machine; the part `broken` fails before it begins."""

    machine: Machine
    broken: str = ""

    def run(self, step: Step) -> JobResult:
        if step.part == self.broken:
            return JobResult(False, ("the node was lost",), exit_code=1)
        for name, content in step.secrets.items():
            self.machine.secret(name, content)
            (self.machine.directory / "secrets" / name).chmod(0o600)
        ended = self.machine.run(step.script)
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
    made.secret(BACKUP_SECRETS[0], f"export RESTIC_REPOSITORY='{tmp_path}/repository' RESTIC_PASSWORD='a password'\n")
    made.secret("settings.tar.gz", "the settings")
    (tmp_path / "volumes" / "s3-data").mkdir(parents=True)
    (tmp_path / "volumes" / "s3-data" / "object").write_text("content")
    return made


def save(machine: Machine, server: postgres.Server, identifier: str, broken: str = "") -> Manifest:
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
    return saving.save_set(steps, Here(machine, broken), options, described, lambda _: None)


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
    assert found.unfinished == ("without-s3-data", "without-settings", "without-manifest")
    (only,) = found.backups
    assert only.complete and only == found.find("latest") and only.bytes == made.bytes > 0
    assert only.parts == {name: part.snapshot for name, part in made.parts.items()}
    text = results.unpacked("".join(machine.run(scripts.dump_manifest(only.manifest)).lines))
    assert from_text(text).text() == made.text()
    assert made.rows == {"migration": 1} and made.parts["s3-data"].bytes == len("content")

"""Bits of a repository flip: a backup is then refused, or all that it has is provably what was saved."""

import os
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import restic_repository
from backup_facts import MANIFEST
from restic import Machine, programs
from restic_repository import PASSWORD

from openbalena.backup import results, scripts, trial
from openbalena.backup.manifest import Manifest
from openbalena.base.names import BACKUP_SECRETS

OPTIONS = scripts.options("my.example.com", ["set=s1", "part=p"])
FLIPS = 100


def environment(machine: Machine) -> dict[str, str]:
    values = {"RESTIC_REPOSITORY": str(machine.directory / "repository"), "RESTIC_PASSWORD": PASSWORD}
    return {**os.environ, **values, "PATH": programs("restic")}


def content(machine: Machine, manifest: Manifest) -> list[bytes]:
    """All that the backup has."""
    names = {"settings": "settings.tar.gz", "s3-data": str(machine.directory / "volumes" / "s3-data" / "object")}
    return [
        subprocess.run(
            ["restic", "--no-cache", "--no-lock", "dump", manifest.parts[part].snapshot, name],
            env=environment(machine),
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout
        for part, name in names.items()
    ]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """With something to save."""
    made = Machine(tmp_path)
    address = tmp_path / "repository"
    made.secret(BACKUP_SECRETS[0], f"export RESTIC_REPOSITORY='{address}' RESTIC_PASSWORD='{PASSWORD}'\n")
    (tmp_path / "volumes" / "s3-data").mkdir(parents=True)
    (tmp_path / "volumes" / "s3-data" / "object").write_bytes(random.Random(1).randbytes(20_000))
    packed = str(tmp_path / "secrets" / "settings.tar.gz")
    subprocess.run(["tar", "-czf", packed, "-C", str(tmp_path / "volumes"), "s3-data"], check=True, timeout=60)
    restic_repository.make(address)
    return made


def test_a_flipped_bit_is_found_or_changes_nothing(machine: Machine) -> None:
    volume = results.saved_part(machine.run(scripts.save_volume("s3-data", OPTIONS)).lines)
    stored = results.saved_part(machine.run(scripts.save_file("settings.tar.gz", "settings.tar.gz", OPTIONS)).lines)
    manifest = replace(MANIFEST, parts={"database": volume, "s3-data": volume, "settings": stored})
    (machine.directory / "trial").mkdir()
    script = trial.check_script(manifest, 100)
    good = machine.run(script)
    assert good.code == 0, good
    before = content(machine, manifest)
    chance = random.Random(22)
    files = sorted(path for path in (machine.directory / "repository").rglob("*") if path.is_file())
    refused = 0
    for _ in range(FLIPS):
        path = chance.choice(files)
        kept = path.read_bytes()
        place, bit = chance.randrange(len(kept)), chance.randrange(8)
        path.chmod(0o600)
        path.write_bytes(kept[:place] + bytes([kept[place] ^ 1 << bit]) + kept[place + 1 :])
        ended = machine.run(script)
        if ended.code == 0:
            assert content(machine, manifest) == before, (path, place, bit)
        else:
            assert ended.code == 1 and ended.lines, (path, place, bit, ended)
            refused += 1
        path.write_bytes(kept)
    assert refused > FLIPS * 0.9
    assert machine.run(script).code == 0

"""A backup is restored for a trial, with the real restic and PostgreSQL: a good one, and those that lack something."""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import postgres
import pytest
import restic_repository
from backup_facts import MANIFEST
from restic import Ended, Machine, programs

from openbalena.backup import results, scripts, trial
from openbalena.backup.manifest import Manifest
from openbalena.backup.sets import SavedPart
from openbalena.backup.trial import Trial
from openbalena.base.errors import OperationError
from openbalena.base.names import BACKUP_SECRETS
from openbalena.pki.database_login import Login

REPOSITORY, LOGIN, _ = BACKUP_SECRETS
OPTIONS = scripts.options("my.example.com", ["set=s1", "part=p"])
REPOSITORIES = ("v2/" + "1" * 32, "v2/" + "2" * 32)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


LAYERS = (b"a layer", b"another layer")
MANIFESTS = [f'{{"layers": [{{"digest": "sha256:{digest(layer)}"}}]}}'.encode() for layer in LAYERS]


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    """With two images of openBalena that can be pulled, and one that was never pushed completely."""
    with postgres.server() as made:
        made.sql('CREATE TABLE migration ("model name" text, "executed migrations" jsonb)')
        made.sql("""INSERT INTO migration VALUES ('resin', '["00001", "00114"]')""")
        made.sql('CREATE TABLE image ("is stored at-image location" text, "content hash" text, status text)')
        for repository, content in zip(REPOSITORIES, MANIFESTS, strict=True):
            made.sql(f"INSERT INTO image VALUES ('registry/{repository}', 'sha256:{digest(content)}', 'success')")
        made.sql("INSERT INTO image VALUES ('registry/v2/3', NULL, 'failed')")
        made.sql("CREATE ROLE openbalena_a; CREATE TABLE device AS SELECT n AS id FROM generate_series(1, 500) n")
        made.sql("ALTER TABLE device OWNER TO openbalena_a; GRANT SELECT ON device TO openbalena_a")
        yield made


@pytest.fixture
def machine() -> Iterator[Machine]:
    """PostgreSQL runs as another user, who cannot enter pytest's directories."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        made = Machine(Path(directory))
        address = made.directory / "repository"
        restic_repository.make(address)
        made.secret(REPOSITORY, f"export RESTIC_REPOSITORY='{address}' RESTIC_PASSWORD='a password'\n")
        made.secret(LOGIN, Login("docker", postgres.PASSWORD).line())
        (made.directory / "secrets" / LOGIN).chmod(0o600)
        archive(made)
        yield made


def archive(machine: Machine) -> None:
    """The settings, as they are saved."""
    (machine.directory / ".env").write_text("DNS_TLD=my.example.com\n")
    packed = str(machine.directory / "secrets" / "settings.tar.gz")
    words = ["tar", "-czf", packed, "-C", str(machine.directory), ".env"]
    subprocess.run(words, check=True, timeout=60)


def stored(machine: Machine, minio: bool) -> Path:
    """The registry's objects as files, or as MinIO has them: a directory with its own data around the content."""
    root = machine.directory / "volumes" / "s3-data" / "registry-data" / "data/docker/registry/v2"

    def put(name: str, content: bytes) -> None:
        path = root / name / "xl.meta" if minio else root / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"\x00XL2 " + content + b"\xff" if minio else content)

    for content in (*MANIFESTS, *LAYERS):
        put(f"blobs/sha256/{digest(content)[:2]}/{digest(content)}/data", content)
    for repository, content in zip(REPOSITORIES, MANIFESTS, strict=True):
        put(f"repositories/{repository}/_manifests/revisions/sha256/{digest(content)}/link", b"sha256:x")
    return root


def saved(machine: Machine, server: postgres.Server) -> Manifest:
    """A manifest of what these scripts have saved."""
    where = {"host": "127.0.0.1", "port": str(server.port), "database": "docker", "user": "docker"}
    script = scripts.save_database(where, OPTIONS)
    steps = {"database": script, "settings": scripts.save_file("settings.tar.gz", "settings.tar.gz", OPTIONS)}
    if (machine.directory / "volumes").exists():
        steps["s3-data"] = scripts.save_volume("s3-data", OPTIONS)
    parts: dict[str, SavedPart] = {}
    facts = results.DatabaseFacts()
    for name, text in steps.items():
        ended = machine.run(text)
        assert ended.code == 0, ended
        parts[name] = results.saved_part(ended.lines)
        facts = results.database_facts(ended.lines) if name == "database" else facts
    return replace(MANIFEST, parts=parts, rows=facts.rows, migrations=facts.migrations, database=facts.server)


def tried(machine: Machine, manifest: Manifest) -> Ended:
    (machine.directory / "trial").mkdir()
    return machine.run(trial.script(manifest, 100))


def found(machine: Machine, manifest: Manifest) -> list[str]:
    ended = tried(machine, manifest)
    assert ended.code == 0, ended
    return list(trial.problems(manifest, trial.read_trial(ended.lines)))


@pytest.mark.parametrize("minio", [False, True])
def test_a_good_backup_has_every_row_and_all_that_images_need(
    minio: bool, machine: Machine, server: postgres.Server
) -> None:
    stored(machine, minio)
    manifest = saved(machine, server)
    ended = tried(machine, manifest)
    assert ended.code == 0, ended
    read = trial.read_trial(ended.lines)
    assert list(trial.problems(manifest, read)) == []
    assert read.database.rows == {"device": 500, "image": 3, "migration": 1}
    assert (read.images, read.digests, read.absent, read.missing) == (2, 2, 0, ())
    assert not list((machine.directory / "trial").glob("server/data/postmaster.pid")), "the server has ended"


def blob(content: bytes) -> str:
    return f"blobs/sha256/{digest(content)[:2]}/{digest(content)}/data"


@pytest.mark.parametrize(
    ("lost", "first"),
    [
        ([blob(LAYERS[1])], digest(LAYERS[1])),
        ([f"repositories/{REPOSITORIES[0]}/_manifests/revisions/sha256/{digest(MANIFESTS[0])}/link"], REPOSITORIES[0]),
        ([blob(content) for content in MANIFESTS], "no manifest of the database's 2 images can be read"),
    ],
)
def test_an_image_that_cannot_be_pulled_is_a_problem(
    lost: list[str], first: str, machine: Machine, server: postgres.Server
) -> None:
    root = stored(machine, minio=False)
    for name in lost:
        (root / name).unlink()
    told = found(machine, saved(machine, server))
    assert first in told[0] and f"the store lacks {len(lost)} objects" in told[-1], told


def test_what_is_not_as_the_manifest_says_is_a_problem() -> None:
    parts = {"s3-data": SavedPart("v1", 10, 7), "cert-manager-data": SavedPart("c1", 5, 1)}
    manifest = replace(MANIFEST, rows={"device": 501, "user": 2, "image": 3}, migrations=("1", "2"), parts=parts)
    facts = results.DatabaseFacts("18.1", ("1",), {"device": 500, "image": 3})
    rows, migrations, store, account = trial.problems(manifest, Trial(facts, {"s3-data": (6, 10)}))
    assert rows.endswith("than the manifest: device has 500 instead of 501, user has none instead of 2")
    assert "other migrations" in migrations and account.startswith("cert-manager-data has 0 files with 0 bytes")
    assert store == "s3-data has 6 files with 10 bytes in the repository, and the manifest says 7 with 10"


@pytest.mark.parametrize("line", ["files s3-data 1", "files s3-data", "images x 1", "absent "])
def test_a_result_that_was_cut_off_is_an_error(line: str) -> None:
    with pytest.raises(OperationError, match="trial restore cannot be read"):
        trial.read_trial([line, "complete"])


def test_lines_that_are_missing_are_an_error() -> None:
    """Without those of the images, a backup would look as if all of them could be pulled."""
    with pytest.raises(OperationError, match="the output of the task is not complete"):
        trial.read_trial(["files s3-data 1 5"])


def test_another_programs_database_has_no_images_to_check(machine: Machine, server: postgres.Server) -> None:
    objects = machine.directory / "volumes" / "s3-data"
    objects.mkdir(parents=True)
    (objects / "object").write_text("1")
    server.sql("ALTER TABLE image RENAME status TO state")
    try:
        manifest = saved(machine, server)
    finally:
        server.sql("ALTER TABLE image RENAME state TO status")
    assert found(machine, manifest) == []


def test_a_dump_that_postgresql_refuses_is_an_error_with_its_words(machine: Machine, server: postgres.Server) -> None:
    manifest = saved(machine, server)
    environment = {"RESTIC_REPOSITORY": str(machine.directory / "repository"), "RESTIC_PASSWORD": "a password"}
    made = subprocess.run(
        ["restic", "backup", "--json", "--stdin", "--stdin-filename", "database.dump"],
        env={**os.environ, **environment, "PATH": programs("restic")},
        input=b"PGDMP, but no more than this" * 10_000,
        check=True,
        capture_output=True,
        timeout=60,
    )
    other = results.saved_part(["result " + made.stdout.decode().splitlines()[-1]])
    ended = tried(machine, replace(manifest, parts={**manifest.parts, "database": other}))
    assert ended.code == 1 and "pg_restore: error:" in ended.lines[-1], ended


def test_settings_that_cannot_be_unpacked_are_an_error(machine: Machine, server: postgres.Server) -> None:
    machine.secret("settings.tar.gz", "no archive")
    ended = tried(machine, saved(machine, server))
    assert ended.code == 1 and "not in gzip format" in " ".join(ended.lines), ended


def test_too_little_room_is_told_before_anything_is_restored(machine: Machine, server: postgres.Server) -> None:
    manifest = saved(machine, server)
    huge = replace(manifest.parts["database"], bytes=1 << 60)
    ended = tried(machine, replace(manifest, parts={**manifest.parts, "database": huge}))
    assert ended.code == 1 and ended.lines[-1].startswith("there is room for "), ended
    assert not list((machine.directory / "trial").iterdir())

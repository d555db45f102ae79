"""What the answers of an external PostgreSQL and object store mean."""

from collections.abc import Callable
from pathlib import Path

import pytest

from openbalena.base.project import Project
from openbalena.cli.main import main
from openbalena.operations import deployment
from openbalena.operations.built_images import planned_builds
from openbalena.operations.deployment import Deployment
from openbalena.settings.variables import variables
from openbalena.storage import external
from openbalena.swarm.job import JobResult


def sentences(what: str, *lines: str, code: int = 0, started: bool = True) -> list[tuple[bool, str]]:
    ok = started and not code
    found = external.store_findings(what, JobResult(ok, lines, "No such image", code, started))
    return [(finding.fatal, str(finding)) for finding in found]


def test_what_answers_as_it_should_is_let_through() -> None:
    assert not sentences("EXTERNAL_POSTGRES", "170004|t|100")
    assert not sentences("EXTERNAL_S3", "registry-data 200", "web-resources 200")


@pytest.mark.parametrize(
    ("answer", "fatal", "word"),
    [
        ("130011|t|100", False, "PostgreSQL 13"),
        ("170004|f|100", True, "GRANT CREATE"),
        ("hello", True, "unexpected answer"),
    ],
)
def test_postgres(answer: str, fatal: bool, word: str) -> None:
    ((was, text),) = sentences("EXTERNAL_POSTGRES", answer)
    assert was == fatal and word in text


@pytest.mark.parametrize(
    ("answer", "tasks", "found"),
    [("170004|t|200", 3, 0), ("170004|t|199", 3, 1), ("170004|t|100", 1, 0), ("hello", 3, 0)],
)
def test_too_few_connections_are_a_warning(answer: str, tasks: int, found: int) -> None:
    told = list(external.too_few_connections(answer, {"API_WORKERS": "1"}, tasks))
    assert [finding.fatal for finding in told] == [False] * found
    assert all("raise max_connections on the server" in str(finding) for finding in told)


def test_a_refusal_is_passed_on_in_the_client_s_own_words() -> None:
    ((fatal, text),) = sentences("EXTERNAL_POSTGRES", "psql: error: password authentication failed", code=2)
    assert fatal and "password authentication failed" in text


@pytest.mark.parametrize(
    ("code", "word"), [("404", "create it"), ("403", "SECRET_KEY"), ("301", "REGION"), ("500", "500")]
)
def test_a_bucket(code: str, word: str) -> None:
    ((fatal, text),) = sentences("EXTERNAL_S3", "registry-data 200", f"web-resources {code}")
    assert fatal and "web-resources" in text and word in text


def test_a_store_that_could_not_be_asked_is_a_warning() -> None:
    assert [fatal for fatal, _ in sentences("EXTERNAL_S3", "no curl with --aws-sigv4", code=120)] == [False]


@pytest.mark.parametrize(
    ("lines", "code", "started", "word"),
    [(("no psql",), 120, True, "no psql"), ((), 0, False, "No such image")],
    ids=["an image without psql", "no image"],
)
def test_a_database_that_could_not_be_asked_is_refused_with_the_way_out(
    lines: tuple[str, ...], code: int, started: bool, word: str
) -> None:
    ((fatal, text),) = sentences("EXTERNAL_POSTGRES", *lines, code=code, started=started)
    assert fatal and word in text and "set DB_IMAGE to an image" in text


def test_credentials_are_in_no_script() -> None:
    settings = {
        "EXTERNAL_POSTGRES_HOST": "db.example.com",
        "EXTERNAL_POSTGRES_PORT": "5432",
        "EXTERNAL_POSTGRES_DATABASE": "resin; rm -rf /",
        "EXTERNAL_POSTGRES_USER": "docker",
        "EXTERNAL_POSTGRES_PASSWORD": "tops3cret",
        "EXTERNAL_S3_ENDPOINT": "s3.example.com",
        "EXTERNAL_S3_REGION": "eu-west-1",
        "EXTERNAL_S3_ACCESS_KEY": "acc3ss",
        "EXTERNAL_S3_SECRET_KEY": "tops3cret",
    }
    scripts = external.postgres_script(settings) + external.store_script(settings)
    assert "tops3cret" not in scripts and "acc3ss" not in scripts
    assert "'resin; rm -rf /'" in scripts


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Deployment]:
    """The deployment that these settings make."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)

    def load(**settings: str) -> Deployment:
        project = Project(directory=tmp_path)
        project.env_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        assert main(["--project-directory", str(tmp_path), "config", "--dns-tld", "my.example.com", "--yes"]) == 0
        return deployment.load(project, lab=True)

    return load


POSTGRES = {"EXTERNAL_POSTGRES": "true", "EXTERNAL_POSTGRES_HOST": "pg.example.com"}
STORE = {
    "EXTERNAL_S3": "true",
    "EXTERNAL_S3_ENDPOINT": "s3.example.com",
    "EXTERNAL_S3_ACCESS_KEY": "acc3ss-key",
    "EXTERNAL_S3_SECRET_KEY": "s3cret-key",
}


@pytest.mark.parametrize(
    ("settings", "there"),
    [({}, {"db", "s3"}), (POSTGRES, {"s3"}), (STORE, {"db"}), (POSTGRES | STORE, set())],
    ids=["none", "database", "store", "both"],
)
def test_what_is_external_is_not_deployed_and_what_is_not_is(
    settings: dict[str, str], there: set[str], configured: Callable[..., Deployment]
) -> None:
    loaded = configured(**settings)
    assert loaded.compiled.document["services"].keys() & {"db", "s3"} == there
    assert set(loaded.compiled.stateful) & {"db-data", "s3-data"} == {f"{name}-data" for name in there}
    assert "api" in loaded.compiled.document["services"]
    built = {what.service for what in planned_builds(loaded, lab=True)}
    assert "db" in built, "with its client an external database is asked"
    assert ("s3" in built) == ("s3" in there)

"""A deployment does not begin on empty volumes beside those that have its data under the other kind's names."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fake_engine import FakeEngine, archive, fake_engine

from openbalena import compose, settings
from openbalena.base.errors import OperationError
from openbalena.base.names import MIGRATION_MARK
from openbalena.base.project import Project
from openbalena.docker.engine import Engine
from openbalena.machine.deployment import Standalone
from openbalena.operations import other_mode
from openbalena.settings.variables import variables
from openbalena.storage.record import VolumeLocation, VolumeRegistry

SETTINGS = {"STACK_NAME": "openbalena", "DNS_TLD": "example.com"}
DATA = ("db-data", "s3-data")


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with TemporaryDirectory() as directory, fake_engine(Path(directory)) as running:
        yield running


def compose_volumes(engine: FakeEngine, project: str = "ob") -> None:
    for name in ("db-data", "s3-data", "resin-data"):
        labels = {"com.docker.compose.project": project, "com.docker.compose.volume": name}
        engine.volumes[f"{project}_{name}"] = labels
    engine.archives["/balena"] = archive(("balena/example.com.env", b"A=b"))


def check(engine: FakeEngine, record: VolumeRegistry | None = None, **changed: str) -> list[tuple[bool, str]]:
    found = other_mode.check_other_mode(
        Engine(host=engine.url), {**SETTINGS, **changed}, DATA, record or VolumeRegistry()
    )
    return [(finding.fatal, str(finding)) for finding in found]


def test_swarm_up_names_the_volumes_of_a_compose_deployment_of_the_same_domain(engine: FakeEngine) -> None:
    assert check(engine) == []
    engine.volumes["other_db-data"] = {}
    compose_volumes(engine)
    ((fatal, text),) = check(engine)
    assert fatal and "node1 has the data of example.com" in text and "ob: ob_db-data, ob_s3-data." in text
    assert "continue with ./open-balena.sh up, or migrate the data with ./open-balena.sh migrate --to swarm" in text
    assert check(engine, DNS_TLD="another.com") == []
    assert engine.images == set()


def test_swarm_up_goes_on_where_the_stack_has_its_data(engine: FakeEngine) -> None:
    compose_volumes(engine)
    places = {name: VolumeLocation("id", "node1") for name in DATA}
    assert check(engine, VolumeRegistry(places=places)) == []
    engine.volumes["openbalena_db-data"] = {}
    ((_, text),) = check(engine)
    assert "ob: ob_s3-data." in text
    engine.volumes["openbalena_s3-data"] = {}
    assert check(engine) == []


def test_an_engine_that_cannot_be_asked_is_said(engine: FakeEngine) -> None:
    engine.refused = "too busy"
    ((fatal, text),) = check(engine)
    assert not fatal and "could not be checked" in text and "too busy" in text


def recorded(engine: FakeEngine, to: str, *, copied: bool, stack: str = "openbalena") -> None:
    """What a migration leaves in resin-data."""
    known = {"to": to, "stack": stack, "begun": "2026-11-26T10:00:00+00:00", "image": "x", "copied": copied}
    content = json.dumps(known).encode()
    directory = archive(("balena/example.com.env", b"A=b"), (f"balena/{MIGRATION_MARK}", content))
    engine.archives = {"/balena": directory, f"/balena/{MIGRATION_MARK}": archive((MIGRATION_MARK, content))}


@pytest.mark.parametrize(
    ("to", "copied", "refused"),
    [
        ("swarm", False, "a migration to the stack was not completed"),
        ("swarm", True, ""),
        ("compose", False, ""),
        ("compose", True, "the data was migrated to it"),
    ],
)
def test_swarm_up_after_a_migration(engine: FakeEngine, to: str, copied: bool, refused: str) -> None:
    """Then the stack has volumes too, and its record their places: only the migration knows which are newer."""
    compose_volumes(engine)
    recorded(engine, to, copied=copied)
    engine.volumes |= {f"openbalena_{name}": {} for name in DATA}
    found = check(engine, VolumeRegistry(places={name: VolumeLocation("id", "node1") for name in DATA}))
    assert len(found) == bool(refused)
    for fatal, text in found:
        assert fatal and "node1 the volumes of the Compose deployment ob are in use: ob_db-data, ob_s3-data" in text
        assert refused in text and "migrate --to swarm" in text
    recorded(engine, to, copied=copied, stack="another")
    assert check(engine) == []


def test_a_damaged_record_of_a_migration_stops_both(engine: FakeEngine, standalone: Standalone) -> None:
    compose_volumes(engine)
    engine.archives["/balena"] = archive((f"balena/{MIGRATION_MARK}", b"{"))
    ((fatal, text),) = check(engine)
    assert fatal and "Compose deployment ob: /balena/.open-balena-migration in volume resin-data is damaged" in text
    compose_volumes(engine, "one")
    engine.archives[f"/balena/{MIGRATION_MARK}"] = archive((MIGRATION_MARK, b"[]"))
    with pytest.raises(OperationError, match="is damaged"):
        other_mode.require_no_other_mode(standalone)


@pytest.fixture
def standalone(engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standalone:
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "compose.yml").write_text(
        "services: {db: {image: x, volumes: ['db-data:/d', 's3-data:/s', 'resin-data:/r']}}\n"
        "volumes: {db-data: , s3-data: , resin-data: }"
    )
    definitions = compose.load([tmp_path / "compose.yml"], environment={})
    project = Project(directory=tmp_path)
    return Standalone(project, settings.read(project), definitions, Engine(host=engine.url), "one", False, ())


def test_up_names_the_volumes_of_the_stack(engine: FakeEngine, standalone: Standalone) -> None:
    other_mode.require_no_other_mode(standalone)
    stack = standalone.settings["STACK_NAME"]
    engine.volumes = {f"{stack}_db-data": {}, "x_db-data": {"com.docker.stack.namespace": "x"}}
    other_mode.require_no_other_mode(standalone)
    engine.volumes[f"{stack}_db-data"] = {"com.docker.stack.namespace": stack}
    with pytest.raises(OperationError) as refused:
        other_mode.require_no_other_mode(standalone)
    assert f"node1 has volumes of the stack {stack}: {stack}_db-data. one would start" in str(refused.value)
    text = "continue with ./open-balena.sh swarm-up, or migrate the data with ./open-balena.sh migrate --to compose"
    assert text in str(refused.value)
    engine.volumes["one_db-data"] = {}
    other_mode.require_no_other_mode(standalone)
    engine.refused = "too busy"
    with pytest.raises(OperationError, match="too busy"):
        other_mode.require_no_other_mode(standalone)


@pytest.mark.parametrize(
    ("to", "copied", "refused"),
    [("swarm", False, False), ("swarm", True, True), ("compose", False, True), ("compose", True, False)],
)
def test_up_after_a_migration(engine: FakeEngine, standalone: Standalone, to: str, copied: bool, refused: bool) -> None:
    """Then both have volumes."""
    compose_volumes(engine, "one")
    stack = standalone.settings["STACK_NAME"]
    engine.volumes |= {f"{stack}_{name}": {"com.docker.stack.namespace": stack} for name in DATA}
    other_mode.require_no_other_mode(standalone)
    recorded(engine, to, copied=copied)
    if not refused:
        other_mode.require_no_other_mode(standalone)
        return
    with pytest.raises(OperationError) as error:
        other_mode.require_no_other_mode(standalone)
    text = str(error.value)
    assert f"in use in volumes of the stack openbalena on node1: {stack}_db-data, {stack}_s3-data" in text
    assert "migrate --to compose" in text and "migrate --undo" in text

"""The api's connections to the database, on one machine."""

from pathlib import Path

import pytest

from openbalena import compose, settings
from openbalena.base.errors import UsageError
from openbalena.base.project import ROOT, Project
from openbalena.machine.database import require_enough_connections
from openbalena.settings.variables import variables


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("lines", "override", "refused"),
    [
        ("", "", False),
        ("API_WORKERS=4\nAPI_MEMORY=4G\n", "", False),
        ("API_WORKERS=5\nAPI_MEMORY=4G\n", "", True),
        ("API_WORKERS=5\nAPI_MEMORY=4G\nDB_MAX_CONNECTIONS=320\n", "", False),
        ("", "{scale: 4}", False),
        ("", "{scale: 5}", True),
        ("", "{deploy: {replicas: 5}}", True),
        ("EXTERNAL_POSTGRES=true\nEXTERNAL_POSTGRES_HOST=pg\n", "{scale: 5}", False),
    ],
)
def test_connections(tmp_path: Path, lines: str, override: str, *, refused: bool) -> None:
    (tmp_path / ".env").write_text(lines)
    values = settings.read(Project(directory=tmp_path))
    (tmp_path / "override.yml").write_text(f"services: {{api: {override or '{}'}}}\n")
    files = [ROOT / "docker-compose.yml", tmp_path / "override.yml"]
    definitions = compose.load(files, environment={}, profiles=values.profiles, interpolate=False)
    if not refused:
        require_enough_connections(definitions, values)
        return
    with pytest.raises(UsageError, match=r"320 may be needed.*set DB_MAX_CONNECTIONS=320"):
        require_enough_connections(definitions, values)

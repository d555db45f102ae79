"""Values that do not survive their way to openBalena's processes: a table, and what a real shell makes of the rest."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from openbalena import settings
from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.compose.dotenv import quote
from openbalena.settings.characters import PLACES, unfit_value
from openbalena.settings.types import TYPES
from openbalena.settings.variables import variables

TABLE = yaml.safe_load(Path(__file__).with_name("characters.yml").read_text())
CASES = [(name, case) for group in TABLE for name in group["variables"] for case in group["cases"]]
PRINTABLE = st.text([chr(code) for code in range(33, 127)], min_size=8, max_size=12)


def source(*values: str) -> list[str]:
    """What bash has of values that stand unquoted behind `v=`, a file for each."""
    script = 'for text; do (source <(printf "v=%s\\n" "$text"); printf "%s\\0" "$v") 2>/dev/null; done'
    run = subprocess.run(["bash", "-c", script, "bash", *values], capture_output=True, text=True, timeout=60)
    return run.stdout.split("\0")[:-1]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name} {case['value']}" for name, case in CASES])
def test_table(tmp_path: Path, name: str, case: dict[str, Any]) -> None:
    (tmp_path / ".env").write_text(f"{name}={quote(case['value'])}\n")
    values = settings.read(Project(directory=tmp_path))
    for mode in ("machine", "cluster"):
        if not case.get(mode):
            settings.require_intact(values, cluster=mode == "cluster")
            continue
        with pytest.raises(UsageError) as error:
            settings.require_intact(values, cluster=mode == "cluster")
        message = str(error.value)
        assert message.startswith(f"{tmp_path}/.env:1: {name} contains ")
        assert case["holds"] in message and "set another value" in message
        assert case["value"] not in message
        assert ("secrets rotate" in message) == variables()[name].token
    assert len(values.warnings) == bool(case.get("cluster"))


@hypothesis_settings(max_examples=20, deadline=None)
@given(st.lists(PRINTABLE, min_size=60, max_size=60))
def test_a_shell_keeps_what_is_accepted(texts: list[str]) -> None:
    kept = [text for text in texts if TYPES["token"].matches(text) and not PLACES["shell"].fault(text)]
    assume(kept)
    assert source(*kept) == kept


def test_a_shell_damages_what_is_refused() -> None:
    refused = [case["value"] for name, case in CASES if name == "SUPERUSER_PASSWORD" and case.get("cluster")]
    assert len(refused) == 7
    assert all(source(value) != [value] for value in refused)


def test_every_secret_of_the_images_has_its_places() -> None:
    """But those that HAProxy, Redis, cert-manager and cloudflared read, whose way is their own, and those of a backup,
    which are quoted for the shell that reads them."""
    free = {name for name, variable in variables().items() if variable.secret and not variable.passes}
    assert free == {
        *("BALENA_DEVICE_UUID", "HAPROXY_PASSWORD", "HAPROXY_STATS_PASSWORD", "HAPROXY_KEY"),
        "REDIS_PASSWORD_PREVIOUS",
        *("BACKUP_PASSWORD", "BACKUP_S3_ACCESS_KEY", "BACKUP_S3_SECRET_KEY"),
        *("TUNNEL_TOKEN", "CLOUDFLARE_API_TOKEN", "GANDI_API_TOKEN"),
    }
    assert {place for variable in variables().values() for place in variable.passes} == PLACES.keys()


def test_new_tokens_survive() -> None:
    every = dict.fromkeys(variables(), "0a1b2c3d4e5f60718293a4b5c6d7e8f9")
    assert list(unfit_value(every, cluster=True)) == []

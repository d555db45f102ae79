"""config --show: which settings, in which order, and which are masked."""

from pathlib import Path

import pytest
from hearing import Listener

from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.operations.show_settings import settings_in_force, superuser_password
from openbalena.operations.workspace import Workspace
from openbalena.settings.values import MASK
from openbalena.settings.variables import variables

ENV = """\
ZZ_OWN=mine
AA_OWN=mine too
SUPERUSER_PASSWORD=secret-word
DNS_TLD=my.example.com
MM_OWN=
SUPERUSER_EMAL=x
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text(ENV)
    return Workspace(Project(directory=tmp_path), lab=False)


@pytest.mark.parametrize("reveal", [True, False])
def test_secrets_and_unknown_variables_are_masked_unless_they_are_asked_for(reveal: bool, workspace: Workspace) -> None:
    listener = Listener()
    found = settings_in_force(workspace, listener, reveal=reveal)
    assert found["DNS_TLD"] == "my.example.com" and found["USE_NFS"] == "false"
    assert found["SUPERUSER_PASSWORD"] == ("secret-word" if reveal else MASK)
    assert found["ZZ_OWN"] == ("mine" if reveal else MASK)
    assert (MASK in found.values()) is not reveal
    assert "SUPERUSER_EMAL" in listener.warnings[0] and len(listener.heard) == 1


def test_known_ones_come_in_their_order_then_others_by_name_and_none_without_a_value(workspace: Workspace) -> None:
    names = list(settings_in_force(workspace, Listener(), reveal=False))
    known = [name for name in variables() if name in names]
    assert names == [*known, "AA_OWN", "SUPERUSER_EMAL", "ZZ_OWN"] and len(known) > 10


def test_the_superuser_s_password(workspace: Workspace) -> None:
    assert superuser_password(workspace) == "secret-word"
    env = workspace.project.env_file
    env.write_text("DNS_TLD=my.example.com\n")
    with pytest.raises(UsageError, match=r"/\.env: SUPERUSER_PASSWORD is not set: run \./open-balena\.sh config$"):
        superuser_password(workspace)
    env.rename(env.with_name(".env.20260101-000000"))
    with pytest.raises(UsageError, match=r"\.env\.20260101-000000 does: config --from-cluster moved it aside"):
        superuser_password(workspace)

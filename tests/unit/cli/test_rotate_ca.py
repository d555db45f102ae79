"""secrets rotate CA where no cluster is asked: a step that was cut off, and what makes no sense."""

import shutil
from pathlib import Path

import pytest

from openbalena.base.errors import OperationError
from openbalena.cli.main import main
from openbalena.operations.rotate_ca import require_age
from openbalena.pki import ca_rotation, store
from openbalena.pki.phases import RotationPhase, current_phase

DOMAIN = "my.example.com"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configured project whose engine does not answer."""
    assert main(["--project-directory", str(tmp_path), "config", "--dns-tld", DOMAIN, "--yes"]) == 0
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere.sock")
    return tmp_path


def call(project: Path, *words: str) -> int:
    return main(["--project-directory", str(project), *words])


def test_a_step_that_was_cut_off_is_completed_and_nothing_follows(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(directory: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(ca_rotation, "finish_step", killed)
        ca_rotation.advance_rotation(project / "pki", DOMAIN)
    for refused in (
        ["swarm-up", "--dry-run"],
        ["config", "--yes"],
        ["pki", "renew"],
        ["secrets", "rotate", "VPN_GUEST_API_KEY"],
    ):
        assert call(project, *refused) == 2, refused
        assert "rotation-step.json: a step of the CA rotation was interrupted" in capsys.readouterr().err
    assert call(project, "secrets", "rotate", "CA") == 0
    said = capsys.readouterr().out
    assert "The interrupted step is complete now." in said and "phase 1 of 3" in said and "swarm-up" in said
    assert current_phase(project / "pki") is RotationPhase.TRUSTED
    store.check_files(project / "pki", DOMAIN)
    assert call(project, "pki", "show") == 0
    assert "The CA is being replaced: phase 1 of 3" in capsys.readouterr().out
    assert call(project, "swarm-up", "--dry-run") == 0


@pytest.mark.parametrize(("days", "least", "goes_on"), [(29, 30, False), (30, 30, True), (0, 0, True), (-1, 1, False)])
def test_without_a_terminal_a_phase_has_a_least_age(days: int, least: int, goes_on: bool) -> None:
    """A timer that calls twice must not lock out every device."""
    if goes_on:
        require_age(2, days, least)
        return
    with pytest.raises(OperationError, match=f"phase 2 has lasted {days} days, and with --yes .* after {least}"):
        require_age(2, days, least)


def test_without_the_cluster_no_phase_begins(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in (project / "pki").iterdir()}
    assert call(project, "secrets", "rotate", "CA", "--yes") == 1
    assert "Docker cannot be reached" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (project / "pki").iterdir()} == before


@pytest.mark.parametrize("option", [["--back"], ["--take-over", "abc"]])
def test_what_is_for_the_ca_is_refused_for_a_token(
    project: Path, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(project, "secrets", "rotate", "VPN_GUEST_API_KEY", "--yes", *option) == 2
    assert "--back is valid only for CA, --take-over only for CA and DB_PASSWORD" in capsys.readouterr().err


def test_a_broken_pki_is_refused_before_the_cluster_is_asked(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(project / "pki" / "ca-0.pem", project / "pki" / "ca-next.pem")
    assert call(project, "secrets", "rotate", "CA", "--yes") == 2
    assert "ca-next-key.pem: missing, although ca-next.pem exists" in capsys.readouterr().err

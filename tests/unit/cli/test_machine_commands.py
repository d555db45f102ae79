"""The standalone commands' exit codes where there is nothing to act on."""

from pathlib import Path

import pytest

from openbalena.base.project import Project
from openbalena.cli.main import main
from openbalena.operations.hints import invocation
from openbalena.pki.keys import certificate_pem, roots

COMMANDS = ("up", "deploy", "wait", "update", "status", "logs", "stop", "restart", "down", "destroy", "clean")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DNS_TLD", "OPEN_BALENA_LAB", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("command", [*COMMANDS, "custom-pki", "pki-custom", "self-signed"])
def test_without_settings_it_is_wrong_use(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--project-directory", str(tmp_path)]) == 2
    run = f"run {invocation(Project(tmp_path), lab=False)} config"
    assert f"{tmp_path}/.env does not exist: {run}, or name its directory" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".env").write_text("SUPERUSER_EMAIL=me@example.com\n")
    assert main([command, "--project-directory", str(tmp_path)]) == 2
    assert f"{tmp_path}/.env: DNS_TLD is not set: {run}\n" in capsys.readouterr().err
    (tmp_path / ".env").write_text("DNS_TDL=example.com\n")
    assert main([command, "--project-directory", str(tmp_path)]) == 2
    assert f"{run}, or correct DNS_TDL in {tmp_path}/.env:1 if it is a typo\n" in capsys.readouterr().err


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory: Path = tmp_path_factory.mktemp("configured")
    assert main(["config", "--dns-tld", "example.com", "--yes", "--project-directory", str(directory)]) == 0
    return directory


@pytest.mark.parametrize("command", COMMANDS)
def test_without_docker_it_fails_and_says_what_to_install(
    command: str, configured: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(configured))
    capsys.readouterr()
    assert main([command, "--project-directory", str(configured)]) == 1
    captured = capsys.readouterr()
    assert "Install the Docker CLI" in captured.err and captured.out == ""


def test_self_signed_prints_the_ca_and_needs_no_docker(
    configured: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(configured))
    capsys.readouterr()
    assert main(["self-signed", "--project-directory", str(configured)]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() == (configured / "pki" / "ca-bundle.pem").read_text().strip()
    assert [certificate_pem(root) for root in roots(printed)] == [(configured / "pki" / "ca-0.pem").read_bytes()]
    assert main(["self-signed", "--install", "--project-directory", str(configured)]) == 1
    assert "update-ca-certificates" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_unknown_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--no-such-option"]) == 2
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "usage: ./open-balena.sh" in capsys.readouterr().out

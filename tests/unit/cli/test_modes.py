"""Every command that reads the settings removes other users' access to them, and warns of it."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from openbalena.base.project import Project
from openbalena.cli.main import main
from openbalena.operations.file_modes import restrict_modes

DOMAIN = "my.example.com"


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    assert main(["config", "--dns-tld", DOMAIN, "--yes", "--project-directory", str(directory)]) == 0
    shutil.rmtree(directory / "pki")
    shutil.copytree(made, directory / "pki")
    assert main(["stack", "render", "-o", str(directory / "deploy"), "--project-directory", str(directory)]) == 0
    return directory


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from openbalena.pki import store

    directory = tmp_path_factory.mktemp("modes") / "pki"
    store.ensure_files(directory, DOMAIN)
    return directory


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


KEYS = ("ca-0-key.pem", "server-ca-0-key.pem", "ocsp-key.pem", "api.key", "vpn.key", "chain.pem", "devices.rsa.key")


@pytest.mark.parametrize("words", [["lint"], ["pki", "show"], ["stack", "render"], ["showenv"], ["stack", "validate"]])
def test_access_of_others_is_removed_with_a_warning(
    words: list[str], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / ".env").chmod(0o644)
    (project / "deploy").chmod(0o755)
    for path in [project / "pki", *(project / "pki" / name for name in KEYS)]:
        path.chmod(0o755 if path.is_dir() else 0o640)
    capsys.readouterr()
    main([*words, *([str(project / "deploy" / "stack.yml")] if "validate" in words else [])] + at(project))
    said = capsys.readouterr().err
    assert f"warning: {project / '.env'} was accessible to other users (mode 644): changed its mode to 600" in said
    assert f"warning: {project / 'pki'} was accessible to other users (mode 755): changed its mode to 700" in said
    assert f"warning: {project / 'deploy'} was accessible to other users (mode 755): changed its mode to 700" in said
    assert (
        f"{project / 'pki'}: {', '.join(sorted(KEYS))} were accessible to other users: changed their mode to 600"
        in said
    )
    assert [mode(project / name) for name in (".env", "pki", "deploy")] == [0o600, 0o700, 0o700]
    assert {mode(project / "pki" / name) for name in KEYS} == {0o600}
    assert mode(project / "pki" / "ca-0.pem") == 0o644, "a public file stays as it is"
    main([*words, *([str(project / "deploy" / "stack.yml")] if "validate" in words else [])] + at(project))
    assert "accessible to other users" not in capsys.readouterr().err


def test_a_pki_elsewhere_is_mended_and_another_directory_left_alone(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "home"
    (project / "pki").rename(elsewhere)
    with (project / ".env").open("a") as file:
        file.write(f"PKI_DIR={elsewhere}\n")
    elsewhere.chmod(0o755)
    main(["showenv", *at(project)])
    assert mode(elsewhere) == 0o700
    for key in elsewhere.iterdir():
        key.unlink()
    elsewhere.chmod(0o755)
    main(["showenv", *at(project)])
    assert mode(elsewhere) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user: root")
def test_what_another_user_cannot_look_into_is_no_failure(made: Path) -> None:
    """Commands that need no settings go on for every user of the machine."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        shutil.copytree(made, directory / "pki")
        for private in ("pki", "deploy"):
            (directory / private).mkdir(exist_ok=True)
            (directory / private).chmod(0o700)
        (directory / ".env").touch(0o600)
        assert restrict_modes(Project(directory)) == [], "all that is needed is imported now"
        if (child := os.fork()) == 0:
            status = 1
            try:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                status = 0 if restrict_modes(Project(directory)) == [] else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def at(project: Path) -> list[str]:
    return ["--project-directory", str(project)]


def test_a_mode_that_cannot_be_changed_has_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(directory=tmp_path)
    project.env_file.write_text("")
    project.env_file.chmod(0o664)

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    assert restrict_modes(project) == [
        f"{project.env_file} is accessible to other users (mode 664): run chmod 600 as its owner"
    ]

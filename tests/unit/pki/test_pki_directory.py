"""Which directories are taken for the PKI's, and what a killed run leaves in them."""

from pathlib import Path

import pytest

from openbalena.base.errors import UsageError
from openbalena.cli.main import main
from openbalena.pki import store
from openbalena.pki.directory import CA_SLOTS, FILES, ROTATION_JOURNAL, authority_files

DOMAIN = "my.example.com"


def test_every_file_that_is_made_is_known(made: Path) -> None:
    of_a_rotation = {ROTATION_JOURNAL, "ca-cross.pem", *(name for kind in CA_SLOTS for name in authority_files(kind))}
    assert {path.name for path in made.iterdir()} == FILES - of_a_rotation


def test_a_directory_of_other_files_is_refused_as_it_is(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "letter.txt").write_text("x")
    for step in (store.check_files, store.ensure_files):
        with pytest.raises(UsageError, match="home: contains letter.txt, but no CA: expected the PKI directory"):
            step(home, DOMAIN)
    assert home.stat().st_mode & 0o777 == 0o755 and [path.name for path in home.iterdir()] == ["letter.txt"]
    with pytest.raises(UsageError, match="cannot read the PKI directory: Not a directory"):
        store.check_files(home / "letter.txt", DOMAIN)


def test_a_pki_may_have_files_beside_it(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    (directory / "lost+found").mkdir(parents=True)
    store.ensure_files(directory, DOMAIN)
    (directory / "notes.txt").write_text("x")
    store.ensure_files(directory, DOMAIN)
    assert (directory / "notes.txt").exists()


def test_config_refuses_it_before_it_writes_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("x")
    for value, words in (("home", "contains letter.txt"), ("~/pki", "without ~ (which is not expanded)")):
        (tmp_path / ".env").write_text(f"PKI_DIR={value}\n")
        assert main(["--project-directory", str(tmp_path), "config", "--dns-tld", DOMAIN, "--yes"]) == 2
        assert words in capsys.readouterr().err
        assert (tmp_path / ".env").read_text() == f"PKI_DIR={value}\n"


def test_what_a_killed_run_left_half_made_goes(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    directory.mkdir()
    for name in (".ca-0-key.pem.ab_12xyz", ".api.kid.00000000"):
        (directory / name).write_text("half")
    store.ensure_files(directory, DOMAIN)
    (directory / ".notes.txt.ab_12xyz").write_text("the user's")
    (directory / ".api.kid.swp").write_text("an editor's")
    (directory / ".api.kid.12345678").write_text("half")
    store.ensure_files(directory, DOMAIN)
    hidden = {path.name for path in directory.iterdir() if path.name.startswith(".")}
    assert hidden == {".notes.txt.ab_12xyz", ".api.kid.swp"}

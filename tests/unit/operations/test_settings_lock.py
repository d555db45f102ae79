"""Who may change or read the settings at one time, and what killed commands left there."""

from pathlib import Path

import pytest

from openbalena.base.errors import OperationError
from openbalena.operations.settings_lock import exclusive_lock, shared_lock


def test_one_changes_or_several_read(tmp_path: Path) -> None:
    with exclusive_lock(tmp_path):
        for other in (exclusive_lock, shared_lock):
            with pytest.raises(OperationError, match="another command"), other(tmp_path):
                pass
    refused = pytest.raises(OperationError, match="another command")
    with shared_lock(tmp_path), shared_lock(tmp_path), refused, exclusive_lock(tmp_path):
        pass
    with exclusive_lock(tmp_path):
        pass


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="cannot be opened"), exclusive_lock(tmp_path / "none"):
        pass


@pytest.mark.parametrize(("linked", "goes"), [(".settings", True), ("settings", False)])
def test_secrets_of_killed_commands_are_removed(linked: str, goes: bool, tmp_path: Path) -> None:
    directory, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for made in (directory / "pki" / ".rotation", directory / ".restoring", elsewhere):
        made.mkdir(parents=True)
    (elsewhere / linked).write_text("")
    (directory / ".env").symlink_to(elsewhere / linked)
    left = [directory / f".{name}.12345678" for name in (".env", ".deployed", ".upgrading")]
    left += [directory / "pki" / ".api.key.12345678", directory / ".restoring" / ".env"]
    beside = elsewhere / f".{linked}.12345678"
    kept = [directory / ".mine.12345678", elsewhere / "..env.12345678"]
    for path in (*left, beside, *kept):
        path.write_text("x")
    with shared_lock(directory):
        assert all(path.exists() for path in left)
    with exclusive_lock(directory):
        assert not any(path.exists() for path in (*left, directory / "pki" / ".rotation"))
    assert beside.exists() is not goes and all(path.exists() for path in kept)

"""What `config` writes of what the environment sets."""

from pathlib import Path

import pytest

from openbalena.base.project import Project
from openbalena.settings.plan import plan
from openbalena.settings.variables import variables

DEFAULT = variables()["STACK_NAME"].default


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("before", "environment", "written"),
    [
        ("", DEFAULT, []),
        ("", "mine", ["STACK_NAME=mine"]),
        ("STACK_NAME=mine\n", "mine", ["STACK_NAME=mine"]),
        ("STACK_NAME=mine\n", "other", ["STACK_NAME=other"]),
        # Somebody set it once: the file says what counts now.
        ("STACK_NAME=mine\n", DEFAULT, [f"STACK_NAME={DEFAULT}"]),
    ],
)
def test_a_default_in_the_environment_is_written_only_where_the_file_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, environment: str, written: list[str]
) -> None:
    (tmp_path / ".env").write_text(f"DNS_TLD=my.example.com\n{before}")
    monkeypatch.setenv("STACK_NAME", environment)
    found = plan(Project(directory=tmp_path), {}, {})
    assert [line for line in found.text.splitlines() if line.startswith("STACK_NAME")] == written

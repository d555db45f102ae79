"""What upgrade prints, and its exit status; what it is asked for reaches the operation."""

import json
from pathlib import Path

import pytest

from openbalena.cli.commands import BY_NAME
from openbalena.cli.main import main
from openbalena.cli.options import command_parser
from openbalena.operations import upgrade as upgrades
from openbalena.operations.upgrade import UpgradeOptions, UpgradeResult
from openbalena.upgrade.plan import Change, UpgradePlan

CHANGES = (Change("api", "balena/open-balena-api:48.4.0@sha256:0a", "balena/open-balena-api:49.0.8"),)
PLAN = UpgradePlan("4.1.924", "", CHANGES, {"API_IMAGE": "a"}, {"API_IMAGE": "b"}, (), ("read this",), ("a step",))


def call(made: Path, *words: str) -> int:
    return main(["--project-directory", str(made), "upgrade", *words])


@pytest.mark.parametrize(("refusals", "status"), [((), 0), (("db: no",), 1)])
def test_a_check_is_a_table_and_what_needs_care(
    refusals: tuple[str, ...],
    status: int,
    made: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = UpgradePlan(**{**vars(PLAN), "refusals": refusals})
    asked: list[UpgradeOptions] = []

    def check(options: UpgradeOptions, *_: object) -> UpgradePlan:
        asked.append(options)
        return plan

    monkeypatch.setattr(upgrades, "check_upgrade", check)
    assert call(made, "--check", "--to", "4.1.924", "--keep-database", "--take-over", "lock1") == status
    assert asked == [UpgradeOptions("4.1.924", 900.0, keep_database=True, take_over="lock1")]
    out, err = capsys.readouterr()
    assert out == (
        "openBalena (images of several releases) → 4.1.924\n"
        "SERVICE  NOW                            THEN\n"
        "api      balena/open-balena-api:48.4.0  balena/open-balena-api:49.0.8\n"
    )
    expected = ["warning: read this", "warning: no way back: a step", *(f"error: {each}" for each in refusals)]
    assert err.splitlines() == expected
    assert call(made, "--check", "--json") == status
    shown = json.loads(capsys.readouterr().out)
    assert shown["refusals"] == list(refusals) and shown["changes"][0]["after"] == CHANGES[0].after


@pytest.mark.parametrize(
    ("changed", "backup", "line"),
    [
        (True, "set1", "openBalena 4.1.924 runs. The backup before it is set1.\n"),
        (True, "", "openBalena 4.1.924 runs.\n"),
        (False, "", "openBalena 4.1.924 runs already.\n"),
    ],
)
def test_the_result_names_the_backup(
    changed: bool,
    backup: str,
    line: str,
    made: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[UpgradeOptions] = []

    def upgrade(options: UpgradeOptions, *_: object) -> UpgradeResult:
        asked.append(options)
        return UpgradeResult(PLAN, changed, backup)

    monkeypatch.setattr(upgrades, "upgrade", upgrade)
    monkeypatch.setattr("openbalena.operations.audit.run_recorded", lambda words, workspace, reporter, run: run())
    assert call(made, "--no-backup", "--yes") == 0
    assert asked == [UpgradeOptions(None, 900.0, backup=False)]
    assert capsys.readouterr().out == line
    assert call(made, "--json") == 0
    assert json.loads(capsys.readouterr().out)["backup"] == backup


def test_only_a_check_is_neither_logged_nor_recorded() -> None:
    command = BY_NAME["upgrade"]
    for words, changing in (([], True), (["--check"], False), (["--to", "4.1.924", "--yes"], True)):
        args = command_parser(command).parse_args(words)
        assert (command.is_logged(args), command.changes_cluster(args)) == (changing, changing)

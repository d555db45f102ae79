"""`./scripts/test --changed`: too many tests are a nuisance, one too few is a fault."""

from pathlib import Path

import pytest
from affected_tests import ROOT, affected, changed_files


@pytest.mark.parametrize(
    ("changed", "test"),
    [
        ("src/openbalena/compose/merge.py", "tests/unit/compose/test_compose_merge.py"),
        ("src/openbalena/cli/settings.py", "tests/unit/cli/test_main.py"),
        ("src/openbalena/doctor/checks/disk.py", "tests/unit/doctor/test_doctor_checks.py"),
        ("src/openbalena/settings/variables.yml", "tests/unit/settings/test_load.py"),
        ("images/haproxy/entry", "tests/unit/haproxy/test_haproxy_entry.py"),
        ("tests/shared/front_door.py", "tests/unit/haproxy/test_haproxy_routing.py"),
        ("tests/conftest.py", "tests/unit/test_files.py"),
        ("docs/storage.md", "tests/unit/docs/test_doc_state.py"),
    ],
)
def test_a_change_runs_the_tests_that_depend_on_it(changed: str, test: str) -> None:
    assert (ROOT / test).exists()
    assert Path(test) in affected({Path(changed)})


def test_a_change_does_not_run_what_has_nothing_to_do_with_it() -> None:
    for changed in ("verify/vpn.py", "doctor/checks/disk.py"):
        assert Path("tests/unit/compose/test_compose_merge.py") not in affected({Path("src/openbalena") / changed})


def test_a_file_that_no_test_names_runs_them_all() -> None:
    assert len(affected({Path("-".join(("no", "such", "file")))})) > 100


def test_a_file_that_is_new_counts_as_changed() -> None:
    path = ROOT / "tests" / "shared" / "new-file-of-this-test"
    path.write_text("")
    try:
        assert path.relative_to(ROOT) in changed_files("HEAD")
    finally:
        path.unlink()

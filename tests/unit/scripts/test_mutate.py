"""What scripts/mutate breaks, and with which tests it looks whether that is noticed."""

import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

from openbalena.base.project import ROOT

SCRIPT = ROOT / "scripts" / "mutate"


@pytest.fixture(scope="module")
def mutate() -> Any:
    """The script as a module."""
    # A file of compiled code beside it would be named like the script, and be taken for one.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec = spec_from_loader("mutate", SourceFileLoader("mutate", str(SCRIPT)))
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        sys.modules["mutate"] = module
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def test_annotations_and_imports_for_the_type_checker_are_left_alone(mutate: Any) -> None:
    code = "if TYPE_CHECKING:\n    import x\ndef f(a: int | None = 1) -> int | None:\n    b: int | None = a | 2\n"
    spans = mutate.spans_without_effect(code)
    lines = code.splitlines()
    texts = [lines[first[0] - 1][first[1] : last[1]] for first, last in spans if first[0] == last[0]]
    assert sorted(texts) == ["int | None"] * 3
    assert ((1, 0), (2, 12)) in spans


UNNOTICED = """
_TIMEOUT = 120.0
_TRIES = 3
@cache
def f(a, b):
    for x in zip(a, b, strict=True):
        reporter.warn(f"{len(x) + 1} of them")
        g(f"{len(x) + 2}")
    raise OperationError(f"{1 + 3} more")
"""


def test_messages_times_and_assertions_are_left_alone(mutate: Any) -> None:
    lines = UNNOTICED.splitlines()
    texts = [lines[first[0] - 1][first[1] : last[1]] for first, last in mutate.spans_without_effect(UNNOTICED)]
    assert sorted(texts) == sorted(["120.0", "cache", "True", 'f"{len(x) + 1} of them"', 'f"{1 + 3} more"'])


def test_a_test_named_after_a_module_tests_it(mutate: Any) -> None:
    module = Path("src/openbalena/operations/teardown.py")
    assert mutate.named_after(Path("tests/unit/operations/test_teardown.py"), module)
    assert not mutate.named_after(Path("tests/unit/swarm/test_swarm_teardown.py"), module)
    assert not mutate.named_after(Path("tests/unit/operations/test_other.py"), module)


def test_a_module_is_tested_by_the_tests_that_import_it(mutate: Any) -> None:
    tests = mutate.tests_of(Path("src/openbalena/base/errors.py"))
    assert Path("tests/unit/scripts/test_mutate.py") not in tests and tests
    own = mutate.tests_of(Path("src/openbalena/base/project.py"))
    assert Path("tests/unit/scripts/test_mutate.py") in own


def test_a_module_of_the_command_line_is_tested_by_the_tests_that_call_its_commands(mutate: Any) -> None:
    assert set(mutate.commands_of("certificates")) == {"pki", "auto-pki", "custom-pki", "self-signed"}
    test = Path("tests/unit/cli/test_pki_here.py")
    assert mutate.calls(test, Path("src/openbalena/cli/certificates.py"))
    assert not mutate.calls(test, Path("src/openbalena/operations/renew.py"))


def test_a_module_that_no_test_imports_is_tested_by_those_of_its_importers(mutate: Any, tmp_path: Path) -> None:
    for path, text in {
        "src/openbalena/deep.py": "",
        "src/openbalena/user.py": "from openbalena import deep",
        "src/openbalena/other.py": "",
        "tests/unit/test_user.py": "from openbalena.user import x",
        "tests/unit/test_other.py": "import openbalena.other",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    with in_checkout(mutate, tmp_path):
        assert mutate.tests_of(Path("src/openbalena/deep.py")) == (Path("tests/unit/test_user.py"),)
        assert mutate.tests_of(Path("src/openbalena/other.py")) == (Path("tests/unit/test_other.py"),)


@contextmanager
def in_checkout(mutate: Any, root: Path) -> Iterator[None]:
    """The script works on another checkout."""
    caches = (mutate.sources, mutate.unit_tests, mutate.imported, mutate.tests_of)
    before, mutate.ROOT = mutate.ROOT, root
    for cached in caches:
        cached.cache_clear()
    try:
        yield
    finally:
        mutate.ROOT = before
        for cached in caches:
            cached.cache_clear()


def git(checkout: Path, *words: str) -> str:
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.com")
    done = subprocess.run(["git", *identity, *words], cwd=checkout, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A checkout with four commits: the modules a and b, then a, then a document, then b."""
    checkout = tmp_path / "checkout"
    modules = checkout / "src" / "openbalena" / "swarm"
    modules.mkdir(parents=True)
    git(checkout, "init", "--quiet")
    for names, text in (("ab", "x = 1\n"), ("a", "x = 2\n"), ("", ""), ("b", "x = 1 + 2 + 3\n")):
        for name in names:
            (modules / f"{name}.py").write_text(text)
        (checkout / "document").write_text(f"{names}{text}")
        git(checkout, "add", ".")
        git(checkout, "commit", "--quiet", "--message", "change")
    return checkout


def sampled(mutate: Any, checkout: Path, *, recent: int, count: int) -> list[str]:
    """The names of the modules that a sample is drawn from."""
    options = Namespace(packages=["swarm"], changed=None, recent=recent, count=count)
    with in_checkout(mutate, checkout):
        return [path.stem for path in mutate.drawn_from(options)[0]]


def test_the_last_commits_of_the_packages_say_what_changed(mutate: Any, history: Path) -> None:
    assert sampled(mutate, history, recent=1, count=2) == ["b"]
    # Documents do not count.
    assert sampled(mutate, history, recent=2, count=2) == ["a", "b"]


def test_what_has_not_been_committed_has_changed_too(mutate: Any, history: Path) -> None:
    (history / "src" / "openbalena" / "swarm" / "a.py").write_text("x = 4\n")
    assert sampled(mutate, history, recent=1, count=2) == ["a", "b"]


def test_too_little_that_changed_is_no_reason_to_mutate_nothing(
    mutate: Any, history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "too little changed in the last commits, or no history: all modules\n"
    assert sampled(mutate, history, recent=1, count=50) == ["a", "b"]
    assert capsys.readouterr().out == said
    git(tmp_path, "clone", "--quiet", "--depth", "1", history.as_uri(), "shallow")
    assert sampled(mutate, tmp_path / "shallow", recent=1, count=2) == ["a", "b"]
    assert capsys.readouterr().out == said
    (history / ".git").rename(tmp_path / "gone")
    assert sampled(mutate, history, recent=1, count=2) == ["a", "b"]
    assert capsys.readouterr().out == said


def test_a_commit_has_its_own_sample(mutate: Any, history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = {"--recent=1": int(git(history, "rev-parse", "HEAD")[:7], 16), "--count=1": 1}
    for option, seed in seeds.items():
        monkeypatch.setattr(sys, "argv", ["mutate", option])
        with in_checkout(mutate, history):
            assert mutate.arguments().seed == seed


def test_a_package_that_is_not_there_is_an_error() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "none"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1 and done.stderr == "error: src/openbalena/none: no such package\n"


def test_nothing_to_mutate_is_an_error(mutate: Any, history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mutate", "--changed", "HEAD", "swarm"])
    with in_checkout(mutate, history), pytest.raises(SystemExit, match="error: there is nothing to mutate"):
        mutate.main()

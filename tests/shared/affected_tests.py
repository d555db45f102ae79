"""Which tests a change can affect, by what they import and which files they name.

    .venv.dev/bin/python tests/shared/affected_tests.py REF

prints the test files, one in a line, for what differs from the commit REF, files that git does not know yet included.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path("src/openbalena")
# Packages of which one module imports the others by their names.
BY_NAME = (SOURCES / "cli", SOURCES / "doctor/checks")
SHARED = Path("tests/shared")
# Those that need no cluster.
TESTS = (Path("tests/lint"), Path("tests/unit"))


@cache
def imported(path: Path) -> frozenset[str]:
    """What the file (relative to ROOT) imports anywhere, `from a import b` as both `a` and `a.b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def dotted(path: Path) -> str:
    """The name by which other files import a module of ours."""
    if path.is_relative_to("src"):
        return ".".join(path.relative_to("src").with_suffix("").parts).removesuffix(".__init__")
    return path.stem


@cache
def python_files(*directories: Path) -> tuple[Path, ...]:
    """The Python files below `directories`, relative to ROOT."""
    return tuple(sorted(p.relative_to(ROOT) for d in directories for p in (ROOT / d).rglob("*.py")))


@cache
def modules() -> dict[str, Path]:
    """The modules that tests import, by name: the sources and what stands beside the tests."""
    tests = (path for path in python_files(SHARED, *TESTS) if not path.name.startswith("test_"))
    return {dotted(path): path for path in (*python_files(SOURCES), *tests)}


@cache
def needs(path: Path) -> frozenset[Path]:
    """The files that `path` imports, directly or not, itself included."""
    seen, todo = {path}, [path]
    while todo:
        names = imported(file := todo.pop())
        if "importlib" in names and file.parent in BY_NAME:
            names |= {dotted(module) for module in python_files(file.parent)}
        for name in names:
            module = modules().get(name)
            if module is not None and module not in seen:
                seen.add(module)
                todo.append(module)
    return frozenset(seen)


def affected(changed: set[Path]) -> list[Path]:
    """The test files that one of `changed` (relative to ROOT) can affect; a file that no test names affects all."""
    tests = [path for path in python_files(*TESTS) if path.name.startswith("test_")]
    reached: set[Path] = set()
    for path in changed:
        found = {test for test in tests if _depends_on(test, path)}
        reached |= found or set(tests)
    return sorted(reached)


def _depends_on(test: Path, path: Path) -> bool:
    conftests = [directory / "conftest.py" for directory in test.parents if (ROOT / directory / "conftest.py").exists()]
    files = needs(test).union(*map(needs, conftests))
    if path.suffix == ".py" and path.parts[0] in ("src", "tests"):
        return path in files
    # Data files, images and documents are found by name: the file's own or, in tests, its directory's.
    return any(
        _names(file, path.name) or (file.parts[0] == "tests" and _names(file, path.parent.name)) for file in files
    )


def _names(file: Path, name: str) -> bool:
    return bool(name) and any(before + name in text(file) for before in ('"', "/"))


@cache
def text(path: Path) -> str:
    """The content of a file below ROOT."""
    return (ROOT / path).read_text(encoding="utf-8")


def changed_files(reference: str) -> set[Path]:
    """What differs from the commit `reference` in the working tree, new files included."""
    commands = (["diff", "--name-only", reference], ["ls-files", "--others", "--exclude-standard"])
    outputs = (subprocess.run(["git", *c], cwd=ROOT, check=True, capture_output=True, text=True) for c in commands)
    return {Path(name) for done in outputs for name in done.stdout.splitlines()}


if __name__ == "__main__":
    print(*affected(changed_files(sys.argv[1])), sep="\n")

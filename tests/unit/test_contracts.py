"""The layers, read from the syntax tree: what talks to the user is in cli, and operations know no command line."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import openbalena
from openbalena.cli.commands import COMMANDS

PACKAGE = Path(openbalena.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))
}
# What reads a command line or writes to the terminal outside of cli, and why.
TALKING = {
    "openbalena.bootstrap": {"print"},  # makes the virtual environment that cli needs, before anything is imported
    "openbalena.lab.host": {"print"},  # the one line by which the lab reports its steps, on stderr
    "openbalena.settings.reference": {"print"},  # `python -m`: writes docs/settings.md
    "openbalena.upstream.__main__": {"argparse", "print"},  # scripts/check-upstream, for maintainers
}


def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[str]:
    """Every module that `module` imports, in functions and under TYPE_CHECKING too; and names, which may be modules."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def below(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"openbalena.{package}.")


def talking(module: str) -> set[str]:
    calls = {
        node.func.id
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "input")
    }
    return calls | ({"argparse"} & set(imports(module)))


def test_the_modules_are_found() -> None:
    assert {"openbalena.cli.main", "openbalena.operations.deploy", "openbalena.lab.host"} <= set(MODULES)
    assert "openbalena.cli.main" in set(imports("openbalena.__main__")), "imports are found"
    assert talking("openbalena.cli.console") == {"print"}, "calls are found"


def test_only_the_command_line_talks_to_the_user() -> None:
    # compose2swarm is the command line of the compiler alone.
    lines = [module for module in MODULES if below(module, "cli") or below(module, "compose2swarm")]
    found = {module: talking(module) for module in MODULES if module not in lines}
    assert {module: what for module, what in found.items() if what} == TALKING


def test_only_the_entry_point_imports_the_command_line() -> None:
    importing = {
        module for module in MODULES if not below(module, "cli") and any(below(name, "cli") for name in imports(module))
    }
    assert importing == {"openbalena.__main__"}


def test_an_operation_gets_no_command_line() -> None:
    """`args` of argparse and the console's Context have names of their own everywhere else."""
    for module in MODULES:
        if not below(module, "operations"):
            continue
        annotations = {
            ast.unparse(argument.annotation)
            for node in ast.walk(tree(module))
            if isinstance(node, ast.FunctionDef)
            for argument in (*node.args.args, *node.args.kwonlyargs)
            if argument.annotation
        }
        assert not {text for text in annotations if re.search(r"\b(Namespace|Context)\b", text)}, module


def test_no_command_imports_another() -> None:
    commands = {f"openbalena.cli.{command.module}" for command in COMMANDS}
    assert len(commands) > 10, "the table is read"
    for module in commands:
        assert set(imports(module)) & (commands - {module}) == set(), module

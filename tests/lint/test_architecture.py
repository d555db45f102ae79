"""The layers: the table in docs/architecture.md, the contract in pyproject.toml, and what the modules really import."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def layers() -> list[list[str]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return [sorted(re.split(r" \| ", layer)) for layer in contracts[0]["layers"]]


def lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LINT_IMPORTS, "--no-cache"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(directory / "src")}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_packages_import_only_what_is_below_them() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contracts: 3 kept, 0 broken." in done.stdout


@pytest.mark.parametrize(
    ("module", "imported", "said"),
    [
        ("docker.logs", "swarm.state", "openbalena.docker.logs -> openbalena.swarm.state"),
        ("pki.keys", "pki.expiry", "No cycles are allowed in openbalena.pki."),
        ("stack.render", "settings.nfs", "openbalena.stack is not allowed to import openbalena.settings"),
    ],
    ids=["up", "in a circle", "beside the translator"],
)
def test_an_import_that_breaks_a_contract_is_found(tmp_path: Path, module: str, imported: str, said: str) -> None:
    (tmp_path / "src").mkdir()
    subprocess.run(["cp", "-r", ROOT / "src" / "openbalena", tmp_path / "src"], check=True)
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    with (tmp_path / "src" / "openbalena" / f"{module.replace('.', '/')}.py").open("a") as file:
        file.write(f"\n\ndef added() -> None:\n    import openbalena.{imported}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1 and said in done.stdout


def test_the_page_lists_the_layers_in_their_order() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.partition("| package |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)/` \|", table, re.M)
    packages = {path.parent.name for path in (ROOT / "src" / "openbalena").glob("*/__init__.py")}
    assert set(rows) == packages - {"upstream"}
    for layer in layers():
        assert sorted(rows[: len(layer)]) == layer
        del rows[: len(layer)]
    assert not rows

"""docs/state.md names what the source names, and nothing else."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from openbalena.base.project import ROOT

PAGE = (ROOT / "docs" / "state.md").read_text()
# A name that we give to something outside the process: a label, an object in the cluster, a file in a volume.
OURS = re.compile(r"\.?open-?balena[.\-_/]\w[\w.\-]*")
# Names of this form that are no state of a deployment.
OTHER = {
    # A domain that only the demo has.
    "openbalena.test",
    # Temporary directories and files below them, and the names of images and contexts of the lab.
    *(
        "openbalena-ca.pem",
        "openbalena-read",
        "openbalena-job-end",
        "openbalena-",
        "open-balena-verify-",
        "open-balena-",
    ),
    *("openbalena-lab", "openbalena-lab-", "openbalena-original", "openbalena-lab/base"),
    # Of the Python environment, and the package's own modules.
    *("openbalena.pth", "openbalena.cli."),
}
# Names that the source puts together from others.
PUT_TOGETHER = {".pki.adopting/": ".adopting"}


def strings() -> Iterator[str]:
    """The string constants of the source, without docstrings; of f-strings the constant parts."""
    for path in sorted((ROOT / "src" / "openbalena").rglob("*.py")):
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield node.value


@cache
def sources() -> str:
    """All files of which the page can name something."""
    files = [
        *(ROOT / "src" / "openbalena").rglob("*.py"),
        *(ROOT / name for name in ("docker-compose.yml", "open-balena.sh", ".gitignore", "scripts/test")),
    ]
    return "\n".join(path.read_text() for path in files)


def rows() -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in PAGE.splitlines()
        if line.startswith("| ") and not line.startswith(("| name |", "| kind |", "| volume |", "| where |"))
    ]


def named() -> list[str]:
    """What stands between backquotes in the first two columns: names of files and objects, not of commands."""
    return sorted({name for row in rows() for cell in row[:2] for name in re.findall(r"`([^`]+)`", cell)})


@pytest.mark.parametrize("name", named())
def test_each_name_in_the_page_is_in_the_source(name: str) -> None:
    parts = re.split(r"<[\w ]+>|/", PUT_TOGETHER.get(name, name))
    assert [part for part in parts if part.strip("-_.") not in sources()] == []


def test_each_name_of_ours_in_the_source_is_in_the_page() -> None:
    names = {text for text in strings() if OURS.fullmatch(text)} - OTHER
    assert {name for name in names if name not in PAGE} == set()
    # The pattern must not lose what it is for.
    assert {"openbalena.ingress", ".openbalena-move", "openbalena-deploy-lock"} <= names


def test_each_volume_and_network_of_the_definitions_is_in_the_page() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    volumes, networks = (
        re.findall(r"^  ([\w-]+):", text.partition(f"\n{kind}:\n")[2].partition("\n\n")[0], re.MULTILINE)
        for kind in ("volumes", "networks")
    )
    assert "db-data" in volumes and "community" in networks
    assert [name for name in volumes if f"`{name}`" not in PAGE] == []
    assert [name for name in networks if f"`<stack>_{name}`" not in PAGE] == []


def test_the_names_are_found(tmp_path: Path) -> None:
    assert {".deployed", "pki/", "openbalena.settings.order", "openbalena_a"} <= {
        *named(),
        *(name for row in rows() for cell in row for name in re.findall(r"`([^`]+)`", cell)),
    }

"""docs/state.md names what the source names, and nothing else."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from openbalena.base import names
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
        # Begins the names of metrics.
        "openbalena_backup_",
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


# Files of the deployment's directory and the checkout.
ON_DISK = {".open-balena.lock", ".open-balena-migration.lock", "open-balena.sh"}
# Names that need no row: Docker's, and the part that all our labels have in common.
DOCKERS = "com.docker."
NAMES = Path(str(names.__file__))


def strings() -> Iterator[tuple[Path, str]]:
    """The string constants of the source, without docstrings; of f-strings the constant parts."""
    for path in sorted((ROOT / "src" / "openbalena").rglob("*.py")):
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield path, node.value


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


def given() -> set[str]:
    """The names that `base.names` gives, without Docker's and without what all our labels begin with."""
    values = [value for name, value in vars(names).items() if name.isupper() and not name.startswith("_")]
    found = {each for value in values for each in ([value] if isinstance(value, str) else value)}
    return {each for each in found if not each.startswith(DOCKERS)} - {names.OUR_LABELS}


def test_each_name_that_we_give_is_in_the_page() -> None:
    assert {"openbalena.ingress", ".openbalena-move", "openbalena-deploy-lock", "openbalena_b"} <= given()
    assert {name for name in given() if name not in PAGE} == set()


def test_names_with_parts_are_in_the_page() -> None:
    made = {
        names.volume_registry("<stack>"),
        names.move_network("<stack>"),
        names.data_label("<volume>"),
        names.job_service("<purpose>", "<node>"),
        names.nfs_check_file("<node>"),
        names.full_name("<stack>", "default"),
    }
    assert {name for name in made if f"`{name}`" not in PAGE} == set()


def test_only_one_module_gives_names() -> None:
    ours = {(path, text) for path, text in strings() if OURS.fullmatch(text)}
    assert {text for path, text in ours if path != NAMES} - OTHER == ON_DISK
    assert all(name in PAGE for name in ON_DISK)
    # The pattern must not lose what it is for.
    assert {"openbalena.ingress", ".openbalena-move", "openbalena-deploy-lock"} <= {t for p, t in ours if p == NAMES}
    # Nor may a name of Docker's be written in two places.
    assert {(path.name, text) for path, text in strings() if text.startswith(DOCKERS) and path != NAMES} == set()


def test_the_definitions_use_labels_that_we_give() -> None:
    labels = re.findall(r"node\.labels\.(openbalena\.[\w.-]+)", (ROOT / "docker-compose.yml").read_text())
    assert set(labels) == {names.INGRESS_LABEL}, "labels of volumes come from x-swarm.stateful"


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

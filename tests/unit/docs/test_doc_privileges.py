"""The table of privileges in docs/security.md says of each service what docker-compose.yml gives it."""

import re
from typing import Any

import pytest

from openbalena import compose, stack
from openbalena.base.project import ROOT

HEADING = "## Privileges"
DEFAULT = "Docker's"


def project() -> compose.Project:
    """The definitions with every profile; a variable without a default is its own name."""
    file = ROOT / "docker-compose.yml"
    names = re.findall(r"\$\{(\w+)(?:\}|:\?)", file.read_text())
    return compose.load([file], environment={name: f"<{name}>" for name in names}, profiles=["*"])


def rows() -> dict[str, list[str]]:
    """The table's cells by service."""
    section = (ROOT / "docs" / "security.md").read_text().partition(f"\n{HEADING}\n")[2].partition("\n## ")[0]
    lines = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if line[:1] == "|"
    ]
    return {line[0]: line[1:] for line in lines[2:]}


def given(service: dict[str, Any]) -> list[str]:
    """The cells: user, capabilities, whether the root file system is read-only, whether new privileges are possible."""
    added = sorted(service.get("cap_add", ()))
    if service.get("privileged"):
        capabilities = "all (privileged)"
    elif "ALL" in service.get("cap_drop", ()):
        capabilities = ", ".join(added) or "none"
    else:
        capabilities = ", ".join([DEFAULT, *added])
    return [
        str(service.get("user") or "the image's"),
        capabilities,
        "yes" if service.get("read_only") else "no",
        "no" if "no-new-privileges:true" in service.get("security_opt", ()) else "yes",
    ]


def services() -> dict[str, dict[str, Any]]:
    """Each service of one machine or of a cluster; of those in both as on one machine, which can say more."""
    loaded = project()
    return {**stack.compile(loaded).document["services"], **loaded.services}


def test_every_service_has_a_row() -> None:
    assert list(rows()) == sorted(services())


@pytest.mark.parametrize("name", sorted(services()))
def test_row_says_what_the_service_is_given(name: str) -> None:
    *cells, reason = rows()[name]
    assert cells == given(services()[name])
    assert reason, "expected why the service has no less"


def test_a_cluster_gives_the_same_capabilities_and_root_file_system() -> None:
    compiled = stack.compile(project()).document["services"]
    for name, service in project().services.items():
        if name in compiled and not service.get("privileged"):
            assert given(compiled[name])[:3] == given(service)[:3], name

"""The lines that lead from a deployment that runs to a login, and to the guide."""

import base64
import re
import subprocess
from pathlib import Path

import pytest

from openbalena import settings
from openbalena.base.project import ROOT, Project
from openbalena.cli.main import main
from openbalena.operations.next_steps import next_step_lines, next_steps
from openbalena.operations.workspace import Workspace

HOST = {"DNS_TLD": "my.example.com", "SUPERUSER_EMAIL": "me@example.com"}
API = "The api: https://api.my.example.com (user me@example.com). To log in with the balena CLI:"
DOMAIN = "  export BALENARC_BALENA_URL=my.example.com"
PASSWORD = "  ./open-balena.sh showpass    # the password that the next line asks for"
LOGIN = "  balena login --credentials --email me@example.com"
NEXT = "Next: ./open-balena.sh verify, which checks it from outside; then a first device: docs/first-device.md"


@pytest.mark.parametrize(
    ("authority", "profiles", "expected"),
    [
        (None, [], [API, DOMAIN, PASSWORD, LOGIN, NEXT]),
        (
            Path("/srv/my pki/ca-bundle.pem"),
            [],
            [API, DOMAIN, "  export NODE_EXTRA_CA_CERTS='/srv/my pki/ca-bundle.pem'", PASSWORD, LOGIN, NEXT],
        ),
        (
            Path("ca.pem"),
            ["admin"],
            [
                *(API, DOMAIN, "  ./open-balena.sh self-signed >ca.pem", '  export NODE_EXTRA_CA_CERTS="$PWD/ca.pem"'),
                *(PASSWORD, LOGIN, "The web interface: https://admin.my.example.com", NEXT),
            ],
        ),
    ],
    ids=["a public CA", "our own CA", "a private CA of the user's, and the web interface"],
)
def test_the_lines(authority: Path | None, profiles: list[str], expected: list[str]) -> None:
    said = next_step_lines(HOST, profiles, tool="./open-balena.sh", authority=authority, guide="docs/first-device.md")
    assert said == expected


@pytest.fixture
def project(tmp_path: Path) -> Project:
    assert main(["config", "--dns-tld", "my.example.com", "--yes", "--project-directory", str(tmp_path)]) == 0
    return Project(directory=tmp_path)


def of(project: Project) -> list[str]:
    return next_steps(settings.read(project), Workspace(project, lab=False))


def exports(lines: list[str]) -> dict[str, str]:
    """What a shell has exported after them; the password and the login are left out."""
    typed = [line for line in lines if re.match("  export ", line)]
    done = subprocess.run(["sh", "-c", "\n".join([*typed, "env"])], capture_output=True, text=True, check=True, env={})
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_they_are_of_the_deployment(project: Project) -> None:
    lines = of(project)
    bundle = project.pki / "ca-bundle.pem"
    assert exports(lines)["BALENARC_BALENA_URL"] == "my.example.com"
    assert exports(lines)["NODE_EXTRA_CA_CERTS"] == str(bundle) and bundle.read_text().count("BEGIN CERTIFICATE") == 2
    assert f"--project-directory {project.directory} showpass" in "\n".join(lines)
    password = settings.read(project)["SUPERUSER_PASSWORD"]
    assert password and password not in "\n".join(lines)
    assert (ROOT / "docs" / "first-device.md").exists()


def test_a_private_ca_of_the_users_own_is_written_first(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = base64.b64encode((project.pki / "ca-bundle.pem").read_bytes()).decode()
    monkeypatch.setenv("ROOT_CA", authority)
    assert any(line.endswith(" self-signed >openbalena-ca.pem") for line in of(project))


def test_without_the_settings_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert of(Project(directory=tmp_path)) == []


def test_a_damaged_certificate_is_no_reason_to_fail(project: Project) -> None:
    (project.pki / "chain.pem").write_text("damaged\n")
    assert of(project) == []

"""Every command of docs/first-device.md that needs no device, in the page's order, with the real balena-cli."""

import os
import re
import subprocess
from pathlib import Path

import balena_cli
import doc_blocks
import pytest
from lab_target import lab_target

from openbalena import settings
from openbalena.base.project import ROOT, Project
from openbalena.operations.demo import DNS_TLD
from openbalena.verify.network import host_names

# Seconds: the deployment is the session's; the CLI may have to be installed, and `verify` has bounds of its own.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]
_BOUND = 300

PAGE = (ROOT / "docs" / "first-device.md").read_text()
# The lab's names resolve nowhere: these processes have an /etc/hosts of their own.
_HOSTS = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"')


def test_it_leads_to_a_device_that_is_registered(deployed: Project, tmp_path: Path) -> None:
    values = settings.read(deployed)
    hosts, home, here = tmp_path / "hosts", tmp_path / "home", tmp_path / "here"
    names = " ".join(f"{name}.{DNS_TLD}" for name in host_names(values.profiles))
    address = lab_target(deployed).addresses[0]
    hosts.write_text(f"127.0.0.1 localhost\n{address} {names}\n")
    for directory in (home, here):
        directory.mkdir()
    doc_blocks.run(
        doc_blocks.blocks(PAGE),
        here,
        {
            **{name: value for name, value in os.environ.items() if not re.match("BALENARC|NODE_|DOCKER_", name)},
            "PATH": f"{balena_cli.program().parent}:{os.environ['PATH']}",
            "HOME": str(home),
            # They would ask hosts of balena's.
            **{f"BALENARC_{what}": "1" for what in ("NO_ANALYTICS", "NO_SENTRY")},
            "BALENA_DISABLE_AUTOUPDATE": "1",
        },
        instead={
            "./open-balena.sh": f"{ROOT}/open-balena.sh --lab --project-directory {deployed.directory}",
            "my.example.com": DNS_TLD,
        },
        typed={"SUPERUSER_PASSWORD": values["SUPERUSER_PASSWORD"]},
        prefix=(*_HOSTS, str(hosts)),
        within=_BOUND,
    )


LEFT_OUT = [block for block in doc_blocks.blocks(PAGE) if block.not_run]


def test_what_is_left_out_says_why_and_is_not_what_can_be_run() -> None:
    assert LEFT_OUT and all(len(block.not_run.split()) > 3 for block in LEFT_OUT)
    run = "\n".join(block.text for block in doc_blocks.blocks(PAGE) if not block.not_run)
    assert set(re.findall(r"balena (\w+)", run)) >= {"login", "whoami", "fleet", "device", "config", "logout"}


@pytest.mark.parametrize("block", LEFT_OUT, ids=lambda block: f"line {block.line}")
def test_the_commands_that_are_left_out_are_there(block: doc_blocks.Block, tmp_path: Path) -> None:
    for line in block.text.replace("\\\n", " ").splitlines():
        for words, rest in re.findall(r"(?:^|\s)balena((?: [a-z][a-z-]*(?=\s|$))+)(.*)", line):
            help_ = subprocess.run(
                [balena_cli.program(), *words.split(), "--help"],
                env={**os.environ, "HOME": str(tmp_path), "BALENARC_NO_SENTRY": "1"},
                capture_output=True,
                text=True,
                check=True,
                timeout=_BOUND,
            ).stdout
            assert f"balena{words}" in help_
            for option in re.findall(r"--[a-z-]+", rest):
                assert re.search(rf"{option}\b", help_), f"{words} has no {option}"

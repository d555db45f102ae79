"""scripts/check-real-images in a checkout whose docker, balena and open-balena.sh are programs of the test's."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from openbalena.base.project import ROOT

SCRIPT = ROOT / "scripts" / "check-real-images"
STEPS = ["config", "images", "deploy", "verify", "login", "fleet", "device", "release", "roll"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = SourceFileLoader("check_real_images", str(SCRIPT))
    specification = spec_from_loader(loader.name, loader)
    assert specification
    module = module_from_spec(specification)
    sys.modules[loader.name] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that is deployed as api.check.invalid: a name that no resolver knows."""
    copy = tmp_path / "checkout"
    (copy / "src/openbalena/settings").mkdir(parents=True)
    (copy / "scripts").mkdir()
    shutil.copy2(SCRIPT, copy / "scripts")
    shutil.copy2(ROOT / "src/openbalena/settings/variables.yml", copy / "src/openbalena/settings")
    described = (ROOT / "src/openbalena/settings/variables.yml").read_text()
    settings = dict(re.findall(r'name: (\w+_IMAGE), type: image, default: "([^"]+)"', described))
    settings |= {
        "DNS_TLD": "check.invalid",
        "SUPERUSER_EMAIL": "a@b.invalid",
        "SUPERUSER_PASSWORD": "x",
        "VPN_IMAGE": "mine:1",
    }
    program(copy / "open-balena.sh", f"case $1 in showenv) echo '{json.dumps(settings)}';; esac")
    program(tmp_path / "bin" / "docker", 'echo "$@" >>"$ASKED"; [ "$1" != image ]')
    return copy


def program(path: Path, command: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)


def run(checkout: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PATH": f"{checkout.parent / 'bin'}:{os.environ['PATH']}"}
    environment["ASKED"] = str(checkout.parent / "asked")
    return subprocess.run(
        [checkout / "scripts" / "check-real-images", *words],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def outcomes(done: "subprocess.CompletedProcess[str]") -> dict[str, tuple[str, str]]:
    found = json.loads(done.stdout)["steps"]
    return {step["step"]: (step["outcome"], step["detail"]) for step in found}


@pytest.mark.parametrize("words", [(), ("neither",), ("swarm", "--unknown")])
def test_wrong_use_is_2(checkout: Path, words: tuple[str, ...]) -> None:
    assert run(checkout, *words).returncode == 2


def test_images_that_cannot_be_pulled_are_named_and_nothing_is_deployed(checkout: Path) -> None:
    program(
        checkout.parent / "bin" / "docker", '[ "$1" != image ] || exit 1; case "$3" in mine:1 | *-db:*) exit 1;; esac'
    )
    done = run(checkout, "swarm", "--json")
    found = outcomes(done)
    assert done.returncode == 1
    assert list(found) == STEPS
    outcome, detail = found["images"]
    assert outcome == "FAIL"
    assert "mine:1" in detail
    assert "balena/open-balena-db:" in detail
    assert "open-balena-api" not in detail
    assert {found[step] for step in STEPS[2:]} == {("skip", "images failed")}


def test_every_image_of_the_settings_is_pulled(checkout: Path) -> None:
    found = outcomes(run(checkout, "compose", "--json"))
    assert found["images"][0] == "ok"
    asked = (checkout.parent / "asked").read_text().splitlines()
    pulled = [line.removeprefix("pull --quiet ") for line in asked if line.startswith("pull")]
    assert len(pulled) == 9
    assert "mine:1" in pulled
    assert not [name for name in pulled if name.startswith("balena/open-balena-vpn")]


def test_an_api_without_an_answer_fails_at_login(checkout: Path) -> None:
    done = run(checkout, "compose", "--json")
    found = outcomes(done)
    assert done.returncode == 1
    assert found["verify"][0] == "ok"
    assert found["login"][0] == "FAIL"
    assert "api.check.invalid" in found["login"][1]


def test_what_a_failed_command_said_is_in_the_line(checkout: Path) -> None:
    program(checkout / "open-balena.sh", "echo no such engine >&2; exit 1")
    done = run(checkout, "compose")
    assert done.returncode == 1
    assert done.stdout.startswith("FAIL config ")
    assert "no such engine" in done.stdout.splitlines()[0]


@pytest.mark.parametrize(("statuses", "fails"), [((200,), False), ((200, 503, 200), True)])
def test_a_roll_counts_what_was_lost(
    script: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch, statuses: tuple[int, ...], fails: bool
) -> None:
    monkeypatch.setenv("PATH", str(checkout.parent / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("ASKED", str(checkout.parent / "asked"))
    monkeypatch.setattr(script, "MARGIN", 1)
    waiting = list(statuses)

    class Answering(script.Run):  # type: ignore[name-defined, misc]
        def request(self, *_: object) -> tuple[int, str]:
            return (waiting.pop(0) if len(waiting) > 1 else waiting[0]), ""

        def expect(self, *_: object) -> str:
            return ""

    rolled = Answering("swarm", lab=False, tld="", fleet=1)
    if fails:
        with pytest.raises(script.StepError, match=r"^1 of \d+ requests failed.*503"):
            script.roll(rolled)
    else:
        assert script.roll(rolled).endswith("none lost")
    assert "service update --force" in (checkout.parent / "asked").read_text()

"""Every service of ours beside openBalena's: what differs has a reason in differences.yml.

openBalena's facts are src/openbalena/upstream/upstream.yml and images.yml; how a fact is named stands in
openbalena.upstream.facts. A fact `unread.NAME` is a variable that we set and the service's image does not read.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from openbalena import compose, stack
from openbalena.base.project import ROOT
from openbalena.upstream import __main__ as command
from openbalena.upstream import checkout
from openbalena.upstream.facts import Facts, differences, facts

HERE = Path(__file__).parent
MODES = ("compose", "swarm")
IMAGES = yaml.safe_load((HERE / "images.yml").read_text())
THEIRS: dict[str, Facts] = yaml.safe_load(command.KNOWN.read_text())["services"]
# The service, the mode and the fact, and its values there and here.
Difference = tuple[str, str, str]
Found = dict[Difference, tuple[str | None, str | None]]


def project() -> compose.Project:
    """Our definitions with every profile; a variable without a default is its own name."""
    file = ROOT / "docker-compose.yml"
    names = re.findall(r"\$\{(\w+)(?:\}|:\?)", file.read_text())
    return compose.load([file], environment={name: f"<{name}>" for name in names}, profiles=["*"])


def on_one_machine() -> dict[str, Facts]:
    """What docker compose is handed."""
    loaded = project()
    return based(checkout.services(loaded), loaded.services)


def in_a_cluster() -> dict[str, Facts]:
    """What Swarm is handed; what is in a service's secret file counts as its environment, as it does for its image."""
    compiled = stack.compile(project())
    found = {name: facts(service) for name, service in compiled.document["services"].items()}
    for content in compiled.secret_files.values():
        for line in (content.text or "").splitlines():
            name, _, value = line.partition("=")
            for service in content.services:
                found[service][f"environment.{name}"] = value
    return based(found, {name: {"build": build} for name, build in compiled.builds.items()})


def based(found: dict[str, Facts], services: dict[str, Any]) -> dict[str, Facts]:
    """An image that is built here is compared as what it is based on."""
    for name, service in services.items():
        if base := service.get("build", {}).get("args", {}).get("BASE"):
            found[name]["image"] = base
    return found


OURS: dict[str, Callable[[], dict[str, Facts]]] = dict(zip(MODES, (on_one_machine, in_a_cluster), strict=True))


def completed(service: str, found: Facts) -> Facts:
    """With what the image says where the Compose file does not, and without what openBalena builds its images from."""
    image = IMAGES["services"].get(service, {})
    said = {key: str(image[key]) for key in ("entrypoint", "command", "stop_signal") if key in image}
    return {**said, **{key: value for key, value in found.items() if not key.startswith("build.")}}


def unread(service: str, found: Facts) -> set[str]:
    """The variables that `found` sets and the service's image does not read."""
    image = IMAGES["services"].get(service, {})
    known = set(image.get("reads", "").split())
    if not known:
        return set()
    if image["configured"]:
        known |= set(IMAGES["configure"]["reads"].split())
        lists = [found.get(f"environment.{name}", "") for name in ("HOSTS_CONFIG", "TOKENS_CONFIG")]
        known |= set(re.findall(r"[A-Z][A-Z0-9_]+", " ".join(lists)))
    return {key.partition(".")[2] for key in found if key.startswith("environment.")} - known


def found_differences() -> Found:
    found: Found = {}
    for mode, ours in OURS.items():
        services = ours()
        for service in sorted({*THEIRS, *services}):
            if service not in services:
                found[service, mode, "service"] = ("yes", None)
            elif service not in THEIRS:
                found[service, mode, "service"] = (None, "yes")
            else:
                here = completed(service, services[service])
                for fact, values in differences(completed(service, THEIRS[service]), here).items():
                    found[service, mode, fact] = values
                for name in unread(service, here):
                    found[service, mode, f"unread.{name}"] = (None, "yes")
    return found


def reasons(found: Found) -> tuple[set[Difference], list[str]]:
    """What differences.yml explains, and what in it explains nothing.

    `"*"` is each service that has the difference; every other service is named, and has to have it.
    """
    explained: set[Difference] = set()
    vain = []
    for entry in yaml.safe_load((HERE / "differences.yml").read_text()):
        for mode in entry.get("modes", MODES):
            for fact in entry["facts"]:
                named = entry["services"]
                every = [(service, mode, fact) for service, where, what in found if (where, what) == (mode, fact)]
                wanted = every if named == "*" else [(service, mode, fact) for service in named]
                if not wanted:
                    vain.append(f"* {mode} {fact}: {entry['why']}")
                for item in wanted:
                    if item in found:
                        explained.add(item)
                    else:
                        vain.append(f"{' '.join(item)}: {entry['why']}")
    return explained, vain


@pytest.fixture(scope="module")
def found() -> Found:
    return found_differences()


def test_every_difference_has_a_reason(found: Found) -> None:
    explained, _ = reasons(found)
    missing = [
        f"{service} ({mode}) {fact}: {theirs!r} there, {ours!r} here"
        for (service, mode, fact), (theirs, ours) in sorted(found.items())
        if (service, mode, fact) not in explained
    ]
    assert not missing, "mend it, or say why in tests/unit/conformance/differences.yml:\n" + "\n".join(missing)


def test_every_reason_explains_a_difference(found: Found) -> None:
    _, vain = reasons(found)
    assert not vain, "these are no differences (any more): take them out of differences.yml:\n" + "\n".join(vain)


def test_every_reason_says_something() -> None:
    entries = yaml.safe_load((HERE / "differences.yml").read_text())
    words = {"why", "services", "modes", "facts"}
    assert [entry for entry in entries if len(entry["why"]) < 15 or {*entry} - words or not entry["facts"]] == []


@pytest.mark.parametrize("service", IMAGES["services"])
def test_images_are_of_services_that_both_have(service: str) -> None:
    assert service in THEIRS
    assert all(service in ours() for ours in OURS.values())


def test_a_missing_variable_is_seen(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real vpn does not start without PRODUCTION_MODE: a definition that lacks a variable may never pass again."""
    monkeypatch.setitem(THEIRS, "vpn", {**THEIRS["vpn"], "environment.SOMETHING_NEW": "1"})
    more = set(found_differences()) - set(found)
    assert more == {("vpn", mode, "environment.SOMETHING_NEW") for mode in MODES}

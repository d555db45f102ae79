"""`stack up`: any Compose project, or a rendered directory, is deployed and waited for."""

import base64
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service

from openbalena.base.names import LOCK_CONFIG
from openbalena.cli.console import Console
from openbalena.cli.main import main
from openbalena.swarm import releases

COMPOSE = """\
services:
  web: {image: 'a:1', configs: [page], secrets: [key, given]}
configs: {page: {file: page}}
secrets: {key: {content: one}, given: {content: given, name: mine}}
"""


@pytest.fixture(autouse=True)
def _shop(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "shop"
    directory.mkdir()
    monkeypatch.chdir(directory)
    for name in ("OPEN_BALENA_LAB", "COMPOSE_FILE", "COMPOSE_PROJECT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    fake.swarm.node("node1", "manager")
    Path("compose.yaml").write_text(COMPOSE)
    Path("page").write_text("one")


def up(capsys: pytest.CaptureFixture[str], *words: str, expected: int = 0) -> tuple[list[str], list[str]]:
    """The lines on stdout and stderr."""
    capsys.readouterr()
    status = main(["stack", "up", *words])
    out, err = capsys.readouterr()
    assert status == expected, out + err
    return out.splitlines(), err.splitlines()


def kept(fake: FakeEngine, kind: str) -> list[str]:
    """The names of the swarm's secrets or configs without their hashes, sorted."""
    return sorted(
        each["Spec"]["Name"].rpartition("-")[0] or each["Spec"]["Name"] for each in getattr(fake.swarm, kind).values()
    )


def used(fake: FakeEngine, service: str) -> list[str]:
    container: dict[str, Any] = fake.swarm.named("services", service)["Spec"]["TaskTemplate"]["ContainerSpec"]
    return [container["Configs"][0]["ConfigName"], *(item["SecretName"] for item in container["Secrets"])]


def test_new_content_makes_new_objects_and_the_old_ones_are_removed(
    fake: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = up(capsys, ".")
    assert out == ["shop is running: 1 services have converged."] and "web: is new" in err
    before = used(fake, "shop_web")
    Path("page").write_text("two")
    assert up(capsys, ".")[0] == out
    after = used(fake, "shop_web")
    assert after[0] != before[0] and after[1:] == before[1:] and after[0].startswith("shop_page-")
    # The fake engine does not say when an update is complete, so its service can be rolled back until the next one.
    assert f"removed {before[0]} (no longer in use)" in up(capsys, ".")[1]
    assert kept(fake, "configs") == ["shop_page"] and kept(fake, "secrets") == ["mine", "shop_key"]
    assert used(fake, "shop_web") == after


def test_quiet_leaves_the_result_and_what_prevents_it(fake: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert up(capsys, ".", "--quiet") == (["shop is running: 1 services have converged."], [])
    Path("compose.yaml").write_text("services: {web: {image: 'a:1', devices: [/dev/kvm]}}\n")
    out, err = up(capsys, ".", "-q", expected=2)
    assert out == [] and any("error" in line and "devices" in line for line in err)


def test_two_stacks_of_one_project_do_not_share_or_remove_objects(
    fake: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("compose.yaml").write_text(COMPOSE.replace(", name: mine", ""))
    rendered = str(tmp_path / "out")
    assert main(["stack", "render", ".", "-o", rendered]) == 0
    for content in ("one", "two", "two"):
        Path("page").write_text(content)
        assert main(["stack", "render", ".", "-o", rendered]) == 0
        # Of the names that begin with one stack's, some are the other's.
        for name in ("shop_x", "shop"):
            assert up(capsys, "-c", rendered, "-p", name)[0] == [f"{name} is running: 1 services have converged."]
    assert kept(fake, "configs") == ["shop_page", "shop_x_page"]
    assert kept(fake, "secrets") == ["shop_given", "shop_key", "shop_x_given", "shop_x_key"]


def test_an_unused_object_of_a_stack_with_a_longer_name_is_kept(
    fake: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    for stack, name in (("shop_x", "shop_x_old-0123456789ab"), ("shop", "shop_old-0123456789ab")):
        labels = {"com.docker.stack.namespace": stack}
        fake.swarm.create("configs", {"Name": name, "Labels": labels, "Data": "eA=="})
    up(capsys, ".")
    assert kept(fake, "configs") == ["shop_page", "shop_x_old"]


def test_what_fails_is_explained(fake: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    fake.swarm.fates["shop_web"] = [[Row(0, "preparing"), Row(2, "rejected", "No such image: a:1")]]
    out, err = up(capsys, ".", "--timeout", "60", expected=1)
    assert out == [] and any("the deployment failed" in line for line in err)
    assert any("web on node1" in line and "No such image: a:1" in line for line in err)


def test_services_are_removed_only_after_a_question(fake: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    fake.swarm.create("services", stack_service("old", "shop"))
    _, err = up(capsys, ".", expected=2)
    assert any("The stack shop also has old, which the project does not." in line for line in err)
    assert [each["Spec"]["Name"] for each in fake.swarm.services.values()] == ["shop_old"]
    up(capsys, ".", "--yes")
    assert [each["Spec"]["Name"] for each in fake.swarm.services.values()] == ["shop_web"]


@pytest.mark.parametrize("others", [False, True])
def test_the_question_is_asked_without_the_lock_and_others_may_deploy_meanwhile(
    others: bool, fake: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.swarm.create("services", stack_service("old", "shop"))
    locked: list[bool] = []

    def confirm(_: Console, question: str) -> bool:
        locked.append(LOCK_CONFIG in [each["Spec"]["Name"] for each in fake.swarm.configs.values()])
        if others:
            fake.swarm.create("services", stack_service("other", "shop"))
        return "Remove the service? " in question

    monkeypatch.setattr(Console, "confirm", confirm)
    _, err = up(capsys, ".", expected=int(others))
    assert locked == [False]
    left = sorted(each["Spec"]["Name"] for each in fake.swarm.services.values())
    assert left == (["shop_old", "shop_other"] if others else ["shop_web"])
    said = "error: nothing was deployed: the stack shop now also has other: run the command again, which asks before"
    assert any(line.startswith(said) for line in err) is others


def test_jobs_are_deployed_and_not_waited_for(fake: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    Path("compose.yaml").write_text("services: {j: {image: 'a:1', deploy: {mode: replicated-job}}}\n")
    assert up(capsys, ".")[0] == ["shop is running: 0 services have converged."]
    assert "ReplicatedJob" in fake.swarm.named("services", "shop_j")["Spec"]["Mode"]


@pytest.mark.parametrize(
    ("compose", "words", "status", "says"),
    [
        (COMPOSE, [], 2, "name a project, or a rendered directory with -c: swarm-up deploys openBalena's own stack"),
        (COMPOSE, [".", "-p", "ob"], 1, "ob is a stack that swarm-up deploys: choose another name with -p NAME"),
        ("services: {a: {image: 'a:1', cpuset: '1'}}", ["."], 2, "compose.yaml:1:30: cpuset: "),
        ("services: {a: {image: a}}", [".", "--strict"], 2, "compose.yaml:1:16: image: a has no tag"),
        (
            "services: {a: {image: 'a:1', deploy: {placement: {constraints: [node.labels.x == y]}}}}", ["."], 1,
            "nothing was deployed: no node has these labels, set each:\n  docker node update --label-add x=y NODE",
        ),
    ],
)  # fmt: skip
def test_what_is_refused_before_anything_changes(
    compose: str, words: list[str], status: int, says: str, fake: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("compose.yaml").write_text(compose)
    release = releases.Release(1, "me", "2026-01-01T00:00:00+00:00", "swarm-up", document={"services": {}})
    data = base64.b64encode(release.content()).decode()
    fake.swarm.create("configs", {"Name": "openbalena-release-ob-1", "Labels": release.labels("ob"), "Data": data})
    assert says in "\n".join(up(capsys, *words, expected=status)[1])
    assert not fake.swarm.services

"""The life of a deployment on a real swarm: init, build, up, status, logs, a change, down."""

import json
import re
import subprocess
import tarfile
from base64 import b64decode
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from node_faults import LARGEST, SMALLEST, VXLAN, dropped, interface_mtu, nftables_from_next_start, without_image
from swarm_project import Small
from waiting import BOUND, eventually

from openbalena.base.names import JOB_LABEL
from openbalena.lab import Endpoint
from openbalena.operations.engines import default_engine
from openbalena.swarm import job, state

pytestmark = pytest.mark.cluster


def status(small: Small) -> dict[str, dict[str, object]]:
    return {item["name"]: item for item in json.loads(small.run("swarm-status", "--json").out)["services"]}


def tasks(small: Small, service: str) -> set[str]:
    found = json.loads(small.run("swarm-status", "--json").out)["tasks"]
    return {item["id"] for item in found if item["service"] == service and item["state"] == "running"}


def test_everything_runs_and_two_replicas_stand_on_two_nodes(small: Small) -> None:
    found = json.loads(small.run("swarm-status", "--json").out)
    assert found["converged"] and {item["name"] for item in found["services"]} == {"web", "store", "front"}
    running = [item for item in found["tasks"] if item["service"] == "web" and item["state"] == "running"]
    assert len({item["node"] for item in running}) == 2
    assert [point["what"] for point in found["single_points_of_failure"]] == ["service store"]


def test_status_in_words(small: Small) -> None:
    out = small.run("swarm-status").out
    assert "converged" in out and "data.store-data" in out and "8088" in out
    assert "Single points of failure: store" in out and "reachable at node1, node2" in out
    assert max(map(len, out.splitlines())) <= 80 and len(out.splitlines()) <= 24
    verbose = small.run("swarm-status", "--verbose")
    assert "service store (node1): " in verbose.out
    assert "balena login --credentials --email a@small.example.com" in verbose.err


def test_up_says_how_to_log_in(small: Small) -> None:
    assert "balena login --credentials --email a@small.example.com" in small.run("swarm-up").out


def test_init_again_changes_nothing_and_prints_how_to_join(small: Small) -> None:
    result = small.run("swarm-init")
    assert result.code == 0
    assert "openbalena.data.store-data=true  is on node1" in result.out
    assert result.out.count("docker swarm join --token SWMTKN-") == 2
    assert "Next:" not in result.out


def test_init_names_the_next_step_where_nothing_is_deployed_yet(small: Small) -> None:
    small.settings(STACK_NAME="another")
    try:
        assert re.search(
            r"^Next: .* swarm-build, once every node has joined$", small.run("swarm-init").out, re.MULTILINE
        )
    finally:
        small.settings(STACK_NAME="small")


def test_init_refuses_what_cannot_be_changed_any_more(small: Small) -> None:
    result = small.run("swarm-init", "--default-addr-pool", "10.77.0.0/16")
    assert result.code == 1 and "--default-addr-pool is 10.0.0.0/8" in result.error


def test_build_again_builds_nothing(small: Small) -> None:
    result = small.run("swarm-build")
    assert "already exists" in result.out and "building" not in result.err
    assert result.out.count("has every image") == 3
    assert re.search(r"^Next: .* swarm-up$", result.out, re.MULTILINE)


def test_the_same_again_replaces_no_task_and_a_plain_network_stays(small: Small) -> None:
    before = tasks(small, "web")
    small.settings(SWARM_ENCRYPTED="true")
    try:
        result = small.run("swarm-up")
        words, found = small.run("swarm-status", "--verbose"), json.loads(small.run("swarm-status", "--json").out)
        shown = small.run("swarm-up", "--dry-run")
    finally:
        small.settings(SWARM_ENCRYPTED="false")
    stays = "these overlay networks of the running deployment are unencrypted: small_default."
    assert result.code == 0 and stays in result.err and stays in words.err, result
    assert tasks(small, "web") == before
    assert found["networks"] == [{"name": "small_default", "encrypted": False}]
    assert any(stays in warning for warning in found["warnings"])
    assert "not encrypted between nodes: small_default (to encrypt them" in " ".join(words.out.split())
    assert shown.code == 0 and "encrypted" not in shown.out


def test_a_number_set_by_hand_is_kept_until_the_definition_asks_for_another(small: Small) -> None:
    default_engine(True).docker("service", "scale", "--detach", "small_web=3")
    result = small.run("swarm-up")
    assert result.code == 0 and "keeping web at 3 replicas" in result.err
    assert status(small)["web"]["wanted"] == 3 and len(tasks(small, "web")) == 3
    assert small.run("stack", "diff").out == "no changes\n"
    try:
        small.compose = small.compose.replace("replicas: 2", "replicas: 1")
        small.write()
        assert small.run("swarm-up").code == 0
        assert status(small)["web"]["wanted"] == 1
    finally:
        small.compose = small.compose.replace("replicas: 1\n", "replicas: 2\n")
        small.write()
    assert small.run("swarm-up").code == 0
    assert status(small)["web"]["wanted"] == 2


def test_a_changed_config_rolls_its_service_alone_and_the_old_one_goes(small: Small) -> None:
    web, front = tasks(small, "web"), tasks(small, "front")
    (small.directory / "page").write_text("two\n")
    result = small.run("swarm-up")
    assert result.code == 0 and "removed small_page-" not in result.err, "a rollback needs the previous one"
    assert not tasks(small, "web") & web and tasks(small, "front") == front
    (small.directory / "page").write_text("three\n")
    result = small.run("swarm-up")
    assert result.code == 0 and "removed small_page-" in result.err
    with default_engine(True).client() as client:
        assert len([item for item in client.configs.list() if item.name.startswith("small_page-")]) == 2


def test_the_users_override_is_deployed_and_goes_with_its_file(small: Small) -> None:
    web = tasks(small, "web")
    override = small.project.override_file
    override.write_text("services: {store: {environment: {MINE: here}, x-swarm: {deploy: {labels: {mine: too}}}}}\n")
    try:
        assert small.run("swarm-up").code == 0
        with default_engine(True).client() as client:
            spec = client.api.inspect_service("small_store")["Spec"]
        assert "MINE=here" in spec["TaskTemplate"]["ContainerSpec"]["Env"] and spec["Labels"]["mine"] == "too"
    finally:
        override.unlink()
    assert small.run("swarm-up").code == 0
    with default_engine(True).client() as client:
        spec = client.api.inspect_service("small_store")["Spec"]
    assert "MINE=here" not in spec["TaskTemplate"]["ContainerSpec"].get("Env", []) and "mine" not in spec["Labels"]
    assert tasks(small, "web") == web


def test_a_service_with_data_is_replaced_before_the_others_and_stops_them_if_it_fails(small: Small) -> None:
    before = {name: tasks(small, name) for name in ("store", "web", "front")}
    override = small.project.override_file
    both = "services: {{store: {{environment: {{ORDER: {0}}}{1}}}, web: {{environment: {{ORDER: {0}}}}}}}\n"
    try:
        override.write_text(both.format(1, ", command: [sh, -c, 'echo no disk; exit 3']"))
        failed = small.run("swarm-up")
        assert failed.code == 1 and "the update of store failed" in failed.error and "| no disk" in failed.error
        assert tasks(small, "web") == before["web"], "what comes after it has not been deployed"
        override.write_text(both.format(2, ""))
        result = small.run("swarm-up")
        assert result.code == 0
        assert "web: environment: + ORDER" in result.err and "updating store first: " in result.err
        with default_engine(True).client() as client:
            found = state.read_cluster(client, "small")
        replaced = {name: tasks(small, name) - before[name] for name in before}
        made = {task.id: task.created for task in found.tasks}
        assert replaced["store"] and replaced["web"] and not replaced["front"]
        assert max(made[task] for task in replaced["store"]) < min(made[task] for task in replaced["web"])
    finally:
        override.unlink(missing_ok=True)
        assert small.run("swarm-up").code == 0


def test_a_release_is_recorded_and_deployed_again(small: Small) -> None:
    page, override = small.directory / "page", small.project.override_file
    page.write_text(f"{uuid4().hex}\n")
    assert small.run("swarm-up").code == 0
    known = history(small)
    assert known[0]["outcome"] == "succeeded" and small.run("swarm-up").code == 0
    assert history(small)[0] == known[0], "a deploy that changes nothing is no release"
    before, web, store = page.read_text(), tasks(small, "web"), tasks(small, "store")
    try:
        page.write_text("another page\n")
        override.write_text("services: {store: {environment: {RELEASE: next}}}\n")
        result = small.run("swarm-up", "--message", "a new page")
        assert result.code == 0
        new = history(small)[0]
        assert new["release"] == known[0]["release"] + 1 and new["message"] == "a new page"
        assert new["changes"]["store"] == ["environment: + RELEASE"]
        assert [line.partition(" ")[0] for line in new["changes"]["web"]] == ["configs:"]
        assert not tasks(small, "web") & web and not tasks(small, "store") & store

        rolled = small.run("swarm-rollback")
        assert rolled.code == 0 and f"runs release {known[0]['release']} again" in rolled.out
        assert "the next swarm-up deploys them again" in rolled.err
        with default_engine(True).client() as client:
            specs = {name: client.api.inspect_service(f"small_{name}")["Spec"] for name in ("web", "store")}
            (config,) = specs["web"]["TaskTemplate"]["ContainerSpec"]["Configs"]
            content = client.configs.get(config["ConfigID"]).attrs["Spec"]["Data"]
        assert b64decode(content).decode() == before
        assert "RELEASE=next" not in specs["store"]["TaskTemplate"]["ContainerSpec"].get("Env", [])
        assert history(small)[0]["command"] == f"swarm-rollback {known[0]['release']}"

        one = small.run("swarm-rollback", str(new["release"]), "store")
        assert one.code == 0
        with default_engine(True).client() as client:
            spec = client.api.inspect_service("small_store")["Spec"]
            (still,) = client.api.inspect_service("small_web")["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"]
        assert "RELEASE=next" in spec["TaskTemplate"]["ContainerSpec"]["Env"] and still == config
        old = small.run("swarm-rollback", str(known[1]["release"]))
        assert old.code == 1 and "the swarm no longer has small_" in old.error
    finally:
        page.write_text(before)
        override.unlink(missing_ok=True)
        assert small.run("swarm-up").code == 0


def history(small: Small) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(small.run("swarm-history", "--json").out)
    return found


def test_a_rebuilt_image_rolls_what_uses_it(small: Small) -> None:
    web = tasks(small, "web")
    (small.directory / "lab" / "web" / "root" / "marker").write_text(uuid4().hex)  # no run before has built it
    result = small.run("swarm-up")
    assert result.code == 1 and "run ./open-balena.sh swarm-build" in result.error, "the new image is on no node yet"
    assert small.run("swarm-build").code == 0
    assert small.run("swarm-up").code == 0
    assert not tasks(small, "web") & web


def test_what_dockerignore_leaves_out_builds_nothing(small: Small) -> None:
    (small.directory / "lab" / "web" / "notes.md").write_text("x")
    assert "already exists" in small.run("swarm-build").out


def test_a_secret_is_a_file_and_not_in_the_service(small: Small) -> None:
    token = next(
        line.partition("=")[2]
        for line in small.project.env_file.read_text().splitlines()
        if line.startswith("COOKIE_SESSION_SECRET=")
    )
    engine = default_engine(True)
    assert token not in engine.docker("service", "inspect", "small_web", "small_front", "small_store")
    assert (small.project.rendered / "secrets" / "web.env").read_text() == f"TOKEN={token}\n"
    assert small.project.rendered.stat().st_mode & 0o777 == 0o700


def test_a_node_is_drained_activated_and_used_again(small: Small) -> None:
    status = json.loads(small.run("swarm-status", "--json").out)
    holder = {item["node"] for item in status["tasks"] if item["service"] == "store" and item["state"] == "running"}
    free = next(item["hostname"] for item in status["nodes"] if {item["hostname"]} != holder and not item["leader"])
    refused = small.run("swarm-drain", *holder)
    assert refused.code == 2 and "store is down: its data (store-data)" in refused.err
    result = small.run("swarm-drain", free, "--yes")
    assert result.code == 0, result.error
    there = [item for item in json.loads(small.run("swarm-status", "--json").out)["tasks"] if item["node"] == free]
    assert not [item for item in there if item["state"] == "running"] and len(tasks(small, "web")) == 2
    result = small.run("swarm-activate", free)
    assert result.code == 0
    assert small.run("swarm-scale", "web=4").code == 0 and len(tasks(small, "web")) == 4
    assert small.run("swarm-rebalance").code == 0
    assert small.run("swarm-scale", "web=2", "store=2").code == 1 and len(tasks(small, "web")) == 4
    assert small.run("swarm-scale", "web=2").code == 0
    eventually("the surplus tasks have stopped", lambda: len(tasks(small, "web")) == 2, BOUND)
    refused = small.run("swarm-remove", *holder, "--yes")
    assert refused.code == 1 and "it has the data of store-data" in refused.error
    recorded = json.loads(small.run("swarm-history", "3", "--all", "--json").out)
    assert [(each["command"], each["outcome"]) for each in recorded] == [
        (f"swarm-remove {''.join(holder)} --yes", "failed"),
        ("swarm-scale web=2", "succeeded"),
        ("swarm-scale web=2 store=2", "failed"),
    ]
    assert "it has the data of store-data" in recorded[0]["error"] and recorded[1]["seconds"] > 0


# The checks of doctor that are broken below.
BROKEN = {"ports", "firewall", "overlay", "mtu", "checksums", "dns", "images", "drift", "nodes", "pools"}


def doctor(small: Small) -> list[dict[str, str]]:
    findings: list[dict[str, str]] = json.loads(small.run("doctor", "--json").out)
    return findings


def broken(small: Small) -> set[tuple[str, str]]:
    return {(item["check"], item["subject"]) for item in doctor(small) if item["check"] in BROKEN}


def test_doctor_looks_at_every_node_and_remembers_what_was_dismissed(small: Small) -> None:
    found = doctor(small)
    assert not [item for item in found if item["severity"] == "error" or item["check"] in BROKEN], found
    (backup,) = [item for item in found if item["check"] == "backup"]
    assert "BACKUP_REPOSITORY is not set" in backup["detail"], found
    assert not default_engine(True).docker("service", "ls", "--quiet", "--filter", f"label={JOB_LABEL}")
    before = {item["id"] for item in found}
    if before:
        one = sorted(before)[0]
        assert small.run("doctor", "--dismiss", one).code == 2
        assert small.run("doctor", "--dismiss", one, "--reason", "a lab").code == 0
        again = {item["id"]: item["dismissed"] for item in doctor(small)}
        assert again[one] == "a lab"


def test_doctor_names_what_packets_between_nodes_are_lost(small: Small, lab: Endpoint) -> None:
    _, second, third = lab.nodes
    with ExitStack() as faults:
        faults.enter_context(interface_mtu(second, 1400))
        faults.enter_context(dropped(second, *VXLAN, "--match", "length", "--length", SMALLEST))
        faults.enter_context(dropped(third, *VXLAN, "--match", "length", "--length", LARGEST))
        seen = broken(small)
    assert {("mtu", "node3"), ("mtu", "node2"), ("checksums", "node2")} <= seen, seen
    assert not {check for check, _ in seen} & {"overlay", "dns", "images", "drift", "nodes", "pools"}, seen


def test_doctor_names_a_closed_port_between_nodes(small: Small, lab: Endpoint) -> None:
    # Alone: without it the nodes learn of each other's tasks late, by UDP, so that DNS and paths may be missing too.
    with dropped(lab.nodes[2], "--protocol", "tcp", "--dport", "7946"):
        assert ("ports", "node3") in broken(small)


def test_doctor_names_a_closed_data_path_a_missing_image_and_other_settings(small: Small, lab: Endpoint) -> None:
    engine = default_engine(True)
    (image,) = set(engine.docker("service", "ls", "--filter", "name=small_", "--format", "{{.Image}}").split())
    (second,) = [node for node in engine.nodes if node.name == "node2"]
    kept = {path: path.read_bytes() for path in (small.project.env_file, small.project.deployed)}
    try:
        # As if another machine had deployed since.
        small.settings(COOKIE_SESSION_SECRET="0" * 32)
        small.project.deployed.unlink()
        with dropped(lab.nodes[2], *VXLAN), without_image(second, image), nftables_from_next_start(lab.nodes[0]):
            seen = broken(small)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert {("overlay", "node3"), ("images", "node2"), ("nodes", "node2"), ("drift", "settings")} <= seen, seen
    assert ("firewall", "node1") in seen, seen
    assert not {check for check, _ in seen} & {"ports", "mtu", "checksums", "pools"}, seen


def test_doctor_fixes_what_it_names(small: Small) -> None:
    with default_engine(lab=True).client() as client:
        for kind in (client.secrets, client.configs):
            kind.create(name="small_left-0123456789ab", data=b"x")
        assert small.run("doctor", "--fix").code == 2, "nobody can be asked"
        result = small.run("doctor", "--fix", "--yes")
        before, _, after = result.out.partition("doctor --fix would:")
        assert "[unused-" in before and "  - remove small_left-0123456789ab" in after and "[unused-" not in after
        left = [item.name for kind in (client.secrets, client.configs) for item in kind.list()]
    assert "small_left-0123456789ab" not in left and any(name.startswith("small_") for name in left)


def test_an_archive_for_support_has_everything_except_secrets(small: Small, tmp_path: Path) -> None:
    assert small.run("doctor", "--bundle", str(tmp_path / "x.tar.gz")).code == 0
    with tarfile.open(tmp_path / "x.tar.gz") as archive:
        found = {each.name: archive.extractfile(each).read().decode() for each in archive}  # type: ignore[union-attr]
    manifest = json.loads(found["open-balena-support/manifest.json"])
    assert manifest["missing"] == {} and len(manifest["files"]) >= 7
    values = {
        name for line in small.project.env_file.read_text().splitlines() if len(name := line.partition("=")[2]) >= 32
    }
    keys = [line for line in (small.project.pki / "ca-0-key.pem").read_text().splitlines() if "-" not in line]
    everything = "\n".join(found.values())
    assert values and keys and not [each for each in (*values, *keys, "SWMTKN-") if each in everything]
    assert "small_web" in everything and "JoinTokens" in everything


def test_logs_of_all_tasks_with_task_and_node(small: Small) -> None:
    result = small.run("swarm-logs", "web")
    lines = result.out.splitlines()
    assert result.code == 0 and all("started" in line and "small_web." in line and "@node" in line for line in lines)
    assert lines == sorted(lines), "in the order they were written"
    assert {line.partition("@")[2].partition(" ")[0] for line in lines} >= {"node1", "node2", "node3"} - {"node1"}


def test_logs_without_a_service_lists_them_and_a_wrong_one_names_them(small: Small) -> None:
    assert small.run("swarm-logs").out.split() == ["front", "store", "web"]
    result = small.run("swarm-logs", "nothere")
    assert result.code == 2 and "front, store, web" in result.error


def test_dry_run_needs_no_docker_and_shows_no_secret(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("OPEN_BALENA_LAB_DIR", "/nonexistent")
    result = small.run("swarm-up", "--dry-run")
    assert result.code == 0 and "web:" in result.out
    for line in small.project.env_file.read_text().splitlines():
        value = line.partition("=")[2]
        assert len(value) < 32 or value not in result.out


def test_the_rendered_directory_deployed_by_hand_replaces_no_task(small: Small, tmp_path: Path) -> None:
    assert small.run("swarm-up").code == 0
    names = ("web", "store", "front")
    with default_engine(True).client() as client:
        running = {service.short_name: service.image for service in state.read_cluster(client, "small").services}
    before = {name: tasks(small, name) for name in names}
    shown = yaml.safe_load(small.run("swarm-up", "--dry-run").out)["services"]
    assert {name: body["image"] for name, body in shown.items()} == running
    rendered = small.run("stack", "render", "-o", str(tmp_path / "stack"))
    assert rendered.code == 0 and "placeholder" not in rendered.err
    (line,) = [text for text in rendered.err.splitlines() if "manually: " in text]
    subprocess.run(["sh", "-c", line.partition("manually: ")[2]], check=True, capture_output=True, timeout=BOUND)
    # The number of tasks that the definition asks for is noted by swarm-up alone.
    differing = small.run("stack", "diff").out.splitlines()
    assert [line for line in differing if "service labels: + openbalena.replicas" not in line] == []
    assert small.run("swarm-up").code == 0
    assert {name: tasks(small, name) for name in names} == before


def test_a_stateful_service_is_not_pruned_without_a_question(small: Small) -> None:
    small.settings(COMPOSE_PROFILES="internal-s3")
    try:
        result = small.run("swarm-up")
        assert result.code == 2 and "store (volume store-data)" in result.error and "--yes" in result.error
        assert status(small)["store"]["running"] == 1
        assert small.run("swarm-up", "--yes").code == 0
        assert "store" not in status(small)
    finally:
        small.settings(COMPOSE_PROFILES="internal-postgres")
    assert small.run("swarm-up").code == 0
    engine = default_engine(True)
    node1 = next(node for node in engine.nodes if node.name == "node1")
    starts = node1.docker("run", "--rm", "--volume", "small_store-data:/data", image(small), "cat", "/data/starts")
    assert len(starts.splitlines()) >= 2, "it found its data again"


def image(small: Small) -> str:
    return str(status(small)["store"]["image"])


def test_down_keeps_the_volumes_and_the_next_up_finds_them(small: Small) -> None:
    result = small.run("swarm-down")
    assert result.code == 0 and "Removed the stack small." in result.out
    engine = default_engine(True)
    with engine.client() as client:
        there = state.read_cluster(client, "small")
        assert not there.services and not there.tasks
        assert not client.networks.list(filters={"label": "com.docker.stack.namespace=small"})
        left = [item.name for item in [*client.secrets.list(), *client.configs.list()] if item.name.startswith("small")]
        assert len(left) == 1 and left[0].startswith("small_settings-") and left[0] in result.out
    assert "small_store-data" in engine.nodes[0].docker("volume", "ls", "--quiet")
    again = small.run("swarm-down")
    assert again.code == 0 and "There is no stack small." in again.out
    with (small.directory / ".env").open("a") as stream:
        stream.write("COOKIE_SESSION_SECRET=of-another-deployment\n")
    (small.directory / ".deployed").unlink()
    refused = small.run("swarm-up")
    assert refused.code == 1 and "with different tokens" in refused.error
    with engine.client() as client:
        assert not state.read_cluster(client, "small").services
    lines = (small.directory / ".env").read_text().splitlines(keepends=True)
    (small.directory / ".env").write_text("".join(lines[:-1]))
    assert small.run("swarm-up").code == 0


def test_down_with_volumes_names_them_and_asks(small: Small) -> None:
    # What a swarm-up leaves that is killed while it looks at the volumes.
    engine = default_engine(True)
    with engine.client() as client:
        node = state.read_cluster(client, "small").this_node
        left = job.Job("look", node, image(small), "true", [job.Mount("small_store-data", "/data", "small")])
        job.start_job(engine, left)
        assert job.wait_for_job(engine, client, left, 60).ok
    result = small.run("swarm-down", "--volumes")
    assert result.code == 2 and "node1: volume small_store-data" in result.err and "--yes" in result.error
    assert status(small)["store"]["running"] == 1, "nothing was removed"
    result = small.run("swarm-down", "--volumes", "--yes")
    assert result.code == 0 and "Removed 1 volume." in result.out
    with default_engine(True).client() as client:
        assert not [item.name for item in client.secrets.list() if item.name.startswith("small")]
    for engine in default_engine(True).nodes:
        assert "small_" not in engine.docker("volume", "ls", "--quiet")

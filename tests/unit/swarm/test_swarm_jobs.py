"""One-shot tasks: how they end, and what they, and runs that were killed, leave behind."""

from pathlib import Path

import docker
import pytest
import yaml
from cluster_builders import cluster, node
from fake_engine import FakeEngine
from fake_swarm import RefusedError, Row

from openbalena.base.errors import OperationError
from openbalena.base.names import JOB_LABEL
from openbalena.swarm import global_job, job, state

CASES = yaml.safe_load(Path(__file__).with_name("jobs.yml").read_text(encoding="utf-8"))
LOOK = job.Job("look", "id-node1", "busybox", "true")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_a_job_ends_as_its_task_does(case: dict[str, object], fake: FakeEngine) -> None:
    rows: list[dict[str, object]] = case["task"]  # type: ignore[assignment]
    fake.swarm.node("node1", "manager")
    fake.swarm.fates[LOOK.name] = [[Row(**row) for row in rows]]  # type: ignore[arg-type]
    fake.swarm.logs[LOOK.name] = ["said", "openbalena-job-end"]
    began = fake.swarm.clock.now
    with fake.engine.client() as client:
        (outcome,) = job.run_job(fake.engine, client, [LOOK], 60)
    found = {"ok": outcome.ok, "started": outcome.started, "error": outcome.error, "lines": list(outcome.lines)}
    found |= {"exit_code": outcome.exit_code, "seconds": round(fake.swarm.clock.now - began)}
    assert found == case["outcome"]
    assert not fake.swarm.services, "it was removed"


def test_a_job_that_met_a_passing_fault_is_started_again(fake: FakeEngine) -> None:
    fault = Row(0, "rejected", "unable to remount dir as readonly: device or resource busy")
    fake.swarm.node("node1", "manager")
    fake.swarm.fates[LOOK.name] = [[fault]]
    fake.swarm.logs[LOOK.name] = ["openbalena-job-end"]
    waited: list[float] = []

    def meanwhile() -> None:
        waited.append(fake.swarm.clock.now)
        if len(waited) == 3:
            fake.swarm.fates[LOOK.name] = [[Row(0, "complete")]]

    with fake.engine.client() as client:
        job.start_job(fake.engine, LOOK)
        assert job.wait_for_job(fake.engine, client, LOOK, 60, meanwhile).ok
    assert fake.swarm.asked.count("POST /services/create") == 4


@pytest.mark.parametrize(("timeout", "seconds"), [(8, 10), (60, 20)])
def test_a_transient_fault_that_does_not_pass_is_reported(fake: FakeEngine, timeout: float, seconds: float) -> None:
    fault = Row(0, "rejected", "unable to remount dir as readonly: device or resource busy")
    fake.swarm.node("node1", "manager")
    fake.swarm.fates[LOOK.name] = [[fault]]
    fake.swarm.clock.stride = 5
    with fake.engine.client() as client:
        began = fake.swarm.clock.now
        (outcome,) = job.run_job(fake.engine, client, [LOOK], timeout)
    assert (outcome.ok, outcome.started, outcome.error) == (False, False, fault.error)
    assert fake.swarm.clock.now - began == seconds


def test_a_job_is_created_on_its_node_with_what_it_mounts(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.node("node2")
    with fake.engine.client() as client:
        client.secrets.create(name="password", data=b"x")
        mount = job.Mount("ob_data", "/data", "ob", options={"o": "addr=nfs,rw"})
        job.start_job(fake.engine, job.Job("look", "id-node2", "busybox", "echo hello", [mount], secrets=["password"]))
    (service,), (task,) = fake.swarm.services.values(), fake.swarm.tasks.values()
    template = service["Spec"]["TaskTemplate"]
    assert task["NodeID"] == "id-node2" and template["RestartPolicy"]["Condition"] == "none"
    assert service["Spec"]["Labels"] == {JOB_LABEL: "look"}
    container = template["ContainerSpec"]
    assert container["Mounts"] == [
        {
            "Type": "volume",
            "Source": "ob_data",
            "Target": "/data",
            "ReadOnly": True,
            "VolumeOptions": {
                "NoCopy": True,
                "Labels": {"com.docker.stack.namespace": "ob"},
                "DriverConfig": {"Name": "local", "Options": {"o": "addr=nfs,rw"}},
            },
        }
    ]
    assert [each["SecretName"] for each in container["Secrets"]] == ["password"]
    assert container["Command"] == ["/bin/sh"] and "echo hello" in container["Args"][1]


def test_the_secret_of_a_check_that_was_killed_goes_with_the_next_command(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        create = client.secrets.create
        create(name="openbalena_settings-0123456789ab", data=b"x", labels={"openbalena.settings.ca": "x"})
        create(name="openbalena-check-postgres-mine", data=b"x")
        kept = set(fake.swarm.secrets)
        held = job.create_job_secret(client, "openbalena-check-postgres", "password")
        held.__enter__()  # and is killed
        create(name="openbalena-check-s3", data=b"x")  # by a version that gave it no label
        assert len(fake.swarm.secrets) == 4
        job.remove_jobs(client)
        with pytest.raises(docker.errors.NotFound):
            held.__exit__(None, None, None)
    assert set(fake.swarm.secrets) == kept


def test_a_secret_lasts_as_long_as_its_question(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        client.secrets.create(name="openbalena-check-s3", data=b"left")
        with pytest.raises(KeyError), job.create_job_secret(client, "openbalena-check-s3", "keys"):
            (secret,) = fake.swarm.secrets.values()
            assert secret["Spec"]["Labels"]
            raise KeyError
    assert not fake.swarm.secrets


END = "openbalena-job-end"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([END], []),
        # Whether they sort before or behind the last line.
        (["a line", "said", END], ["a line", "said"]),
        ([*map(str, range(300)), END], [*map(str, range(101, 300))]),
    ],
)
def test_the_last_lines_of_a_job_without_its_end(fake: FakeEngine, lines: list[str], found: list[str]) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.logs[LOOK.name] = lines
    with fake.engine.client() as client:
        began = fake.swarm.clock.now
        assert list(job.run_job(fake.engine, client, [LOOK], 60)[0].lines) == found
    assert fake.swarm.clock.now == began


@pytest.mark.parametrize(("arrives", "waited"), [(2.0, 2.5), (60.0, 10.0)])
def test_a_log_that_is_not_complete_yet_is_waited_for_ten_seconds(
    fake: FakeEngine, arrives: float, waited: float
) -> None:
    fake.swarm.node("node1", "manager")
    began = fake.swarm.clock.now
    fake.swarm.clock.stride = 2.5
    fake.swarm.logs[LOOK.name] = lambda _: ["said", END][: 1 + (fake.swarm.clock.now - began >= arrives)]
    with fake.engine.client() as client:
        (result,) = job.run_job(fake.engine, client, [LOOK], 60)
    assert fake.swarm.clock.now - began == waited
    if arrives < waited:
        assert result == job.JobResult(True, ("said",))
    else:
        # No line may be taken for "nothing was found".
        assert not result.ok and result.started and result.lines == ()
        assert result.error.startswith("the output of its task did not reach the manager within 10 s: if its node was")


@pytest.mark.parametrize(
    ("down", "ended"),
    [((10, None), "task openbalena-look-id-node2 has no result: node node2 has been down for 60 s: start it"),
     ((10, 60), ""), ((10, 65), "")],
)  # fmt: skip
def test_a_node_that_is_lost_ends_the_wait(down: tuple[float, float | None], ended: str, fake: FakeEngine) -> None:
    """The swarm goes on to say that the task runs."""
    fake.swarm.node("node1", "manager")
    node = fake.swarm.node("node2")
    remote = job.Job("look", "id-node2", "busybox", "true")
    fake.swarm.fates[remote.name] = [[Row(0, "running"), Row(600, "complete")]]
    fake.swarm.logs[remote.name] = [END]
    fake.swarm.clock.stride = 5
    began = fake.swarm.clock.now

    def fail() -> None:
        passed = fake.swarm.clock.now - began
        node["Status"]["State"] = "down" if down[0] <= passed < (down[1] or passed + 1) else "ready"

    with fake.engine.client() as client:
        job.start_job(fake.engine, remote)
        outcome = job.wait_for_job(fake.engine, client, remote, 21600, fail)
    assert outcome.ok is not bool(ended) and outcome.error.startswith(ended)
    assert fake.swarm.clock.now - began == (70 if ended else 600)


def test_a_node_that_left_the_swarm_ends_the_wait(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.node("node2")
    remote = job.Job("look", "id-node2", "busybox", "true")
    fake.swarm.fates[remote.name] = [[Row(0, "running")]]
    fake.swarm.clock.stride = 5
    with fake.engine.client() as client:
        job.start_job(fake.engine, remote)
        del fake.swarm.nodes["id-node2"]
        outcome = job.wait_for_job(fake.engine, client, remote, 21600)
    assert not outcome.ok and "id-node2 is no longer in the swarm" in outcome.error


def test_the_end_of_a_wait_between_two_looks(fake: FakeEngine) -> None:
    """The limit is no multiple of the pause between two looks."""
    fake.swarm.node("node1", "manager")
    fake.swarm.fates[LOOK.name] = [[Row(0, "running")]]
    with fake.engine.client() as client:
        began = fake.swarm.clock.now
        (outcome,) = job.run_job(fake.engine, client, [LOOK], 3.2)
    assert outcome.error.startswith(f"task {LOOK.name} did not end within 3.2 s") and outcome.started
    assert fake.swarm.clock.now - began == 3.5


def test_jobs_run_at_the_same_time_and_their_results_keep_their_order(fake: FakeEngine) -> None:
    for name in ("node1", "node2"):
        fake.swarm.node(name, "manager")
    second = job.Job("look", "id-node2", "busybox", "true", networks=["one", "host"])
    fake.swarm.create_network({"Name": "one", "Driver": "overlay"})
    fake.swarm.fates = {
        LOOK.name: [[Row(0, "running"), Row(9, "failed", "x", 3)]],
        second.name: [[Row(0, "running"), Row(8, "complete")]],
    }
    fake.swarm.logs = {LOOK.name: [END], second.name: [END]}
    with fake.engine.client() as client:
        began = fake.swarm.clock.now
        found = job.run_job(fake.engine, client, [LOOK, second], 60)
    assert [each.exit_code for each in found] == [3, 0] and fake.swarm.clock.now - began == 9
    assert len(fake.swarm.created[1]["TaskTemplate"]["Networks"]) == 2 and not fake.swarm.services


def test_where_one_job_cannot_be_created_none_is_left(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    refused = job.Job("look", "id-node1", "busybox", "true", secrets=["absent"])
    other = job.Job("other", "id-node1", "busybox", "true")
    with fake.engine.client() as client, pytest.raises(OperationError, match="absent"):
        job.run_job(fake.engine, client, [other, refused], 60)
    assert [spec["Name"] for spec in fake.swarm.created] == [other.name] and not fake.swarm.services


def test_a_network_is_removed_once_it_is_free(fake: FakeEngine) -> None:
    in_use = RefusedError(400, "network one is in use by task t")
    fake.swarm.clock.stride = 10
    for refusals, left, waited in ((0, 0, 0), (2, 0, 20), (99, 1, 30)):
        said: list[str] = []
        fake.swarm.create_network({"Name": "one", "Driver": "overlay"})
        fake.swarm.refusals = [("DELETE", "/networks", in_use)] * refusals
        began = fake.swarm.clock.now
        job.remove_network(fake.engine, "one", said.append)
        assert (len(fake.swarm.networks) - 3, fake.swarm.clock.now - began) == (left, waited)
        assert said == [
            f"waiting until no task uses the network one: {passed} s so far" for passed in range(10, waited, 10)
        ]


def test_a_removed_network_is_waited_for_until_the_engine_no_longer_names_it(fake: FakeEngine) -> None:
    """The swarm has removed it, and this engine still lists it: the request is answered as done."""
    fake.swarm.clock.stride = 10
    fake.swarm.create_network({"Name": "one", "Driver": "overlay"})
    remaining = iter([True, True])
    remove = fake.swarm.remove

    def removed(kind: str, name: str) -> None:
        if kind != "networks" or not next(remaining, False):
            remove(kind, name)

    fake.swarm.remove = removed  # type: ignore[method-assign]
    began = fake.swarm.clock.now
    job.remove_network(fake.engine, "one", print)
    assert (len(fake.swarm.networks), fake.swarm.clock.now - began) == (3, 20)


def test_a_job_has_a_name_of_its_node_and_a_result_is_one_of_a_task_that_was_started() -> None:
    assert job.Job("look", "0123456789abcdef", "busybox", "true").name == "openbalena-look-0123456789ab"
    outcome = job.JobResult(True, ())
    assert (outcome.error, outcome.exit_code, outcome.started) == ("", 0, True)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"state": "down"}, "down; it must be ready and active: start it, or its Docker Engine"),
        ({"state": "unknown"}, "unknown; it must be ready and active: start it, or its Docker Engine"),
        ({"state": "disconnected"}, "disconnected; it must be ready and active: start it, or its Docker Engine"),
        ({"availability": "drain", "state": "down"},
         "down, drain; it must be ready and active: start it, or its Docker Engine"),
        ({"availability": "pause"},
         "ready, pause; it must be ready and active: `docker node update --availability active node2`"),
    ],
)  # fmt: skip
def test_a_node_that_cannot_run_a_task_is_named_with_what_helps(fields: dict[str, str], problem: str) -> None:
    found = cluster([], [], [node(1), node(2, **fields)])
    job.require_usable(found, [])
    job.require_usable(found, ["n1"])
    with pytest.raises(OperationError) as refused:
        job.require_usable(found, ["n1", "n2"])
    assert str(refused.value) == f"node node2 is {problem}"


def test_a_node_that_has_left_the_swarm_is_named() -> None:
    with pytest.raises(OperationError, match="^node 0123456789ab is no longer in the swarm: join it again$"):
        job.require_usable(cluster([], []), ["n1", "0123456789abcdef"])


def test_a_job_on_every_node_has_a_result_for_each(fake: FakeEngine) -> None:
    everywhere = job.Job("look", "", "busybox", "true", constraints=("node.labels.kind == small",))
    for name, kind in (("node1", "large"), ("node2", "small"), ("node3", "small"), ("node4", "small")):
        fake.swarm.node(name, "manager", kind=kind)
    fake.swarm.fates[everywhere.name] = [[Row(0, "complete")], [Row(0, "rejected", "No such image")], [Row(0, "ready")]]
    fake.swarm.logs[everywhere.name] = ["said", "openbalena-job-end"]
    with fake.engine.client() as client:
        nodes = [node.id for node in global_job.job_nodes(everywhere, state.read_cluster(client, "ob"))]
        assert nodes == ["id-node2", "id-node3", "id-node4"]
        job.start_job(fake.engine, everywhere)
        began = fake.swarm.clock.now
        found = global_job.wait_for_nodes(fake.engine, client, everywhere, nodes, 20)
        assert fake.swarm.clock.now - began == 20
    assert found["id-node2"] == job.JobResult(True, ("said",))
    assert found["id-node3"] == job.JobResult(False, (), "No such image", started=False)
    late = "task openbalena-look-all did not end within 20 s (ready)"
    assert found["id-node4"] == job.JobResult(False, (), late, started=False, timed_out=True)

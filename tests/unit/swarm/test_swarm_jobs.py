"""One-shot tasks: how they end, and what they, and runs that were killed, leave behind."""

from pathlib import Path

import docker
import pytest
import yaml
from fake_engine import FakeEngine
from fake_swarm import Row

from openbalena.base.names import JOB_LABEL
from openbalena.swarm import job

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

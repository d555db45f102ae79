"""When a deploy asks the database about the api's login, and when all is as it was."""

import pytest
from cluster_builders import cluster, service, task

from openbalena.pki.database_login import Login
from openbalena.storage.database import has_converged, is_settled
from openbalena.storage.record import VolumeRegistry, from_labels
from openbalena.swarm.state import Cluster

LOGIN = Login("openbalena_b", "secret")
KNOWN = VolumeRegistry(login="openbalena_b t7")


def template(user: str) -> dict[str, object]:
    """The api's, with that user."""
    return {"ContainerSpec": {"Image": "a:1", "Env": [f"DB_USER={user}"]}, "ForceUpdate": 0}


def of(user: str, database_task: int) -> Cluster:
    """A cluster whose api logs in as `user`, with that task of the database."""
    services = [service(template=template(user)), service("db")]
    return cluster(services, [task(1, spec=template(user)), task(database_task, "db")])


def test_it_is_asked_unless_the_same_task_was_and_the_api_has_the_login() -> None:
    assert is_settled(of("openbalena_b", 7), KNOWN, LOGIN)
    assert not is_settled(of("openbalena_b", 7), VolumeRegistry(), LOGIN), "never asked"
    assert not is_settled(of("openbalena_b", 8), KNOWN, LOGIN), "the volume may be another one"
    assert not is_settled(of("openbalena_b", 7), KNOWN, Login("openbalena_a", "secret")), "rotated"
    assert not is_settled(of("docker", 7), KNOWN, LOGIN), "a version that knows no login was there"
    assert not is_settled(cluster([service("db")], [task(7, "db")]), KNOWN, LOGIN), "the api is gone"


def test_what_was_asked_is_kept_with_the_volumes_places() -> None:
    assert from_labels(KNOWN.labels()) == KNOWN and "database.login" not in VolumeRegistry().labels()


def test_a_database_that_an_interrupted_move_has_stopped_is_started_before_it_is_asked() -> None:
    assert has_converged(cluster([service("db")], [task(7, "db")]), "db")
    assert not has_converged(cluster([service("db", replicas=0)], []), "db")
    assert not has_converged(cluster([], []), "db")


@pytest.mark.parametrize(
    ("fields", "counts"),
    [({}, True), ({"state": "starting"}, False), ({"desired": "shutdown"}, False), ({"state": "failed"}, False)],
)
def test_a_login_is_known_of_tasks_that_run(fields: dict[str, str], *, counts: bool) -> None:
    spec = template("openbalena_b")
    found = cluster(
        [service(template=template("openbalena_b")), service("db")],
        [task(1, spec=spec), task(7, "db"), task(8, "db", **fields)],
    )
    both = VolumeRegistry(login="openbalena_b t7 t8")
    assert is_settled(found, both, LOGIN) is counts
    assert is_settled(found, VolumeRegistry(login="openbalena_b t7"), LOGIN) is not counts


def test_a_login_is_not_known_while_the_api_has_not_converged() -> None:
    known = VolumeRegistry(login="openbalena_b t7")
    assert not is_settled(
        cluster([service(template=template("openbalena_b")), service("db")], [task(7, "db")]), known, LOGIN
    )

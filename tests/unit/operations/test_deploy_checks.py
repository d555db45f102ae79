"""What swarm-up checks before it changes anything: what is asked of which node, and what is made of the answers."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from cluster_builders import cluster
from hearing import Listener

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.operations import deploy_checks, other_mode
from openbalena.operations.deploy_checks import DeployChecks, plan_deploy, require_none_fatal
from openbalena.operations.schema_check import SchemaCheck
from openbalena.storage import external, guard, record
from openbalena.storage.record import Move, VolumeLocation, VolumeRegistry
from openbalena.swarm import encryption, mesh, node_probe, ports, releases
from openbalena.swarm.api_schema import Answer, Verdict
from openbalena.swarm.preflight import DeployPlan, Finding
from openbalena.swarm.state import Cluster, SwarmService

SERVICE = SwarmService(id="s", name="ob_api", stack="ob", image="api:7")
SETTINGS = {"STACK_NAME": "ob", "INGRESS_MODE": "host", "SWARM_ENCRYPTED": "true"}
NODES = (SimpleNamespace(hostname="node1"), SimpleNamespace(hostname="node2"))


class Findings:
    """Checks that leave their name and what they got, and find what they are told to."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.found: dict[str, list[Finding]] = {}

    def check(self, name: str) -> Any:
        def run(*args: Any) -> list[Finding]:
            self.done.append((name, args))
            return self.found.get(name, [])

        return run

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.done]


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Findings:
    found = Findings()
    for owner, name, label in (
        (mesh, "check_ip_vs", "ip_vs"),
        (encryption, "check_encryption", "encryption"),
        (ports, "check_ports", "ports"),
        (guard, "require_data", "data"),
        (other_mode, "check_other_mode", "other mode"),
        (external, "check_external", "external"),
    ):
        monkeypatch.setattr(owner, name, found.check(label))
    monkeypatch.setattr(encryption, "nodes_to_check", lambda *args: [])
    monkeypatch.setattr(ports, "port_questions", lambda *args: [])
    monkeypatch.setattr(record, "record_observed", lambda *args: VolumeRegistry({}))
    return found


def made(listener: Listener, **settings: str) -> DeployChecks:
    values: Any = {**SETTINGS, **settings}
    deployment: Any = SimpleNamespace(settings=values, compiled=SimpleNamespace(stateful=("db-data",)))
    plan = DeployPlan((SERVICE,), settings=values)
    return DeployChecks(Engine(), object(), Cluster((), (), ()), deployment, plan, (), listener)


def test_where_nothing_is_due_no_node_is_asked(checks: Findings) -> None:
    listener = Listener()
    made(listener).require_capable_nodes()
    assert checks.done == [] and listener.heard == []


def test_every_node_is_asked_what_only_it_knows(checks: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def nodes(cluster: Cluster, encrypted: str, services: Any) -> Any:
        asked.append((encrypted, services))
        return NODES

    questions = [SimpleNamespace(named=f"port {port}", node=node) for port, node in zip((80, 443), NODES, strict=True)]
    monkeypatch.setattr(encryption, "nodes_to_check", nodes)
    monkeypatch.setattr(ports, "port_questions", lambda *args: questions)
    listener = Listener()
    made(listener, INGRESS_MODE="mesh").require_capable_nodes()
    assert checks.names == ["ip_vs", "encryption", "ports"] and asked == [("true", (SERVICE,))]
    assert checks.done[0][1][3] == "api:7" and checks.done[1][1][2:4] == (NODES, (SERVICE,))
    assert listener.heard == [
        "checking every node for ip_vs …",
        "checking whether node1, node2 can encrypt overlay networks …",
        "checking whether port 80 is free on node1 …",
        "checking whether port 443 is free on node2 …",
    ]


@pytest.mark.parametrize("failing", ["ip_vs", "encryption", "ports"])
def test_no_node_is_asked_more_once_one_cannot_be_used(
    failing: str, checks: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encryption, "nodes_to_check", lambda *args: NODES)
    monkeypatch.setattr(ports, "port_questions", lambda *args: [SimpleNamespace(named="port 80", node=NODES[0])])
    checks.found[failing] = [Finding("no module")]
    with pytest.raises(OperationError, match="^nothing was deployed:\n  no module$"):
        made(Listener(), INGRESS_MODE="mesh").require_capable_nodes()
    assert checks.names == ["ip_vs", "encryption", "ports"][: len(checks.done)] and checks.names[-1] == failing


def test_data_is_looked_for_where_it_is_recorded(checks: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    known = VolumeRegistry({"db-data": VolumeLocation("id-node1", "node1")})
    known = known.with_move("db-data", Move("id-node1", "id-node2", {"ob_db": 1}))
    monkeypatch.setattr(record, "record_observed", lambda *args: known)
    listener = Listener()
    made(listener).require_data()
    assert checks.names == ["data"]
    assert checks.done[0][1][4:] == (known, {})
    monkeypatch.setattr(guard, "interrupted_moves", lambda known: known.moves.items())
    made(listener := Listener()).require_data()
    assert len(listener.warnings) == 1 and "run ./open-balena.sh storage move db-data" in listener.warnings[0]


def test_a_compose_deployment_s_data_is_looked_for_with_the_record(
    checks: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = VolumeRegistry({"db-data": VolumeLocation("id-node1", "node1")})
    monkeypatch.setattr(record, "read_registry", lambda client, stack: known)
    checks.found["other mode"] = [Finding("data of a Compose deployment")]
    found = deploy_checks.other_mode_findings(Engine(), object(), made(Listener()).deployment)
    assert list(map(str, found)) == ["data of a Compose deployment"]
    assert checks.done[0][1][2:] == (("db-data",), known)


def test_external_services_are_asked_with_the_stack_s_images(checks: Findings) -> None:
    found = made(Listener())
    found.require_external_services()
    ((_, args),) = checks.done
    assert args[3] == {"api": "api:7"} and args[5] == found.plan.api_tasks
    checks.found["external"] = [Finding("old", fatal=False), Finding("no database")]
    made_again = made(listener := Listener())
    with pytest.raises(OperationError, match="^nothing was deployed:\n  no database$"):
        made_again.require_external_services()
    assert listener.heard == ["warning: old"]


@pytest.mark.parametrize(
    ("verdict", "heard", "refused"),
    [
        (None, [], ""),
        (Verdict(Answer.ALLOWED), [], ""),
        (Verdict(Answer.LIMITED, ("no x",)), ["warning: api: it is older than the database's schema: no x"], ""),
        (Verdict(Answer.UNKNOWN, reason="?"), ["warning: api: it may not run on the database's schema: ?"], ""),
        (Verdict(Answer.REFUSED, reason="moved on"), [], "this version cannot be deployed:\n  api: moved on: "),
    ],
)
def test_an_older_api_is_judged_as_one_that_may_be_new(
    verdict: Verdict | None, heard: list[str], refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged(self: SchemaCheck, document: Any, known: Any, *, may_be_new: bool) -> Verdict | None:
        assert (document, known, may_be_new) == ("the stack", ["all releases"], True)
        return verdict

    monkeypatch.setattr(SchemaCheck, "verdict", judged)
    monkeypatch.setattr(releases, "read_releases", lambda client, stack: ["all releases"])
    deployment: Any = SimpleNamespace(settings=SETTINGS, compiled=SimpleNamespace(document="the stack"))
    found = replace(made(listener := Listener()), deployment=deployment)
    if refused:
        with pytest.raises(OperationError, match=f"^{refused}"):
            found.require_schema()
    else:
        found.require_schema()
    assert listener.heard == heard


def test_findings_are_told_whole() -> None:
    require_none_fatal(iter([]), listener := Listener())
    require_none_fatal(iter([Finding("a", fatal=False), Finding("b", fatal=False)]), listener)
    assert listener.heard == ["warning: a", "warning: b"]
    with pytest.raises(OperationError, match="^nothing was deployed:\n  c\n  d$"):
        require_none_fatal(iter([Finding("c"), Finding("a", fatal=False), Finding("d")]), listener)
    assert listener.heard == ["warning: a", "warning: b", "warning: a"]


@pytest.mark.parametrize("nodes", [(), (Engine("node1"), Engine("node2"))])
def test_the_plan_has_what_the_reachable_nodes_say(nodes: tuple[Engine, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def probe(reachable: Any, what: Any, *more: Any) -> Any:
        asked.append((reachable, what, *more))
        return frozenset({"found"})

    document = {"services": {"api": {"image": "api:7"}}}
    monkeypatch.setattr(deploy_checks, "with_manual_scaling", lambda *args: (document, {}))

    def missing(reachable: Any, images: Any) -> Any:
        asked.append((reachable, images))
        return {"node1": {"c"}, "node2": {"c", "api:7"}}

    monkeypatch.setattr(node_probe, "missing_images", missing)
    monkeypatch.setattr(node_probe, "refusals", probe)
    monkeypatch.setattr(node_probe, "taken_ports", probe)
    deployment: Any = SimpleNamespace(settings=SETTINGS, compiled=SimpleNamespace(node_labels=()))
    engine, other = Engine(nodes=nodes), SwarmService(id="o", name="x_y", stack="x")
    there = cluster([SERVICE], [], 2, others=(other,))
    plan = plan_deploy(engine, object(), deployment, there, frozenset({"c"}))
    assert [(service.name, service.image) for service in plan.services] == [("ob_api", "api:7")]
    assert plan.built == {"c"} and {*plan.refused} == {*plan.taken} == {"found"} and plan.settings is SETTINGS
    assert set(plan.absent) == {"node1", "node2"}
    reachable = nodes or (engine,)
    ports_asked = (reachable, plan.services, (SERVICE, other))
    assert asked == [(reachable, {"c", "api:7"}), (engine, ["api:7"]), ports_asked]

"""doctor --watch: which changes are shown, and when the nodes are looked at."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import stack_service
from hearing import workspace_on

from openbalena.base.names import LOCK_CONFIG
from openbalena.cli.main import main
from openbalena.doctor.findings import DoctorFinding, Severity
from openbalena.operations import doctor_watch
from openbalena.operations.doctor_watch import Changes, Reading
from openbalena.operations.workspace import Workspace
from openbalena.swarm import audit
from openbalena.swarm.audit import Entry, Outcome

FULL = DoctorFinding("disk", Severity.WARNING, "node1", "nearly full", "enlarge it", "12% free")
LOST = DoctorFinding("nodes", Severity.ERROR, "node2", "it is down", "start it")
REPORT = ["kernel 6.1.0", "disk 100 40", "memory 8", "available 4", "cgroup 2", "openbalena-job-end"]


@pytest.fixture
def workspace(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name in ("node1", "node2", "node3"):
        fake.swarm.node(name, "manager")
    fake.swarm.create("services", stack_service("api"))
    fake.swarm.logs["openbalena-doctor"] = lambda spec: [f"now {time.time():.0f}", *REPORT]
    with fake.engine.client() as client:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        audit.write(client, "ob", Entry("ann@desk", now, "backup create", Outcome.SUCCEEDED))
    return workspace_on(fake, tmp_path, monkeypatch)


class Script:
    """The time, which moves on only in pauses: what happens in each, then Ctrl-C."""

    def __init__(self, clock: Any, pauses: list[Callable[[], object]]) -> None:
        self.clock, self.pauses = clock, pauses

    def sleep(self, seconds: float) -> None:
        if not self.pauses:
            raise KeyboardInterrupt
        self.clock.sleep(seconds)
        self.pauses.pop(0)()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.clock, name)


def watched(
    workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch, *pauses: Callable[[], object]
) -> int:
    monkeypatch.setattr(doctor_watch, "time", Script(fake.swarm.clock, list(pauses)))
    return main(["--project-directory", str(workspace.project.directory), "doctor", "--watch"])


def test_a_finding_is_new_once_and_gone_once() -> None:
    changes = Changes()
    assert changes.observe(Reading(1, [FULL])) == ([FULL], [])
    assert changes.observe(Reading(2, [FULL, LOST])) == ([LOST], [])
    assert changes.observe(Reading(3, [], "no leader")) == ([], [])
    assert changes.error == "no leader" and changes.present == [(FULL, 1), (LOST, 2)]
    measured = DoctorFinding("disk", Severity.WARNING, "node1", "nearly full", "enlarge it", "11% free")
    assert changes.observe(Reading(4, [measured])) == ([], [LOST])
    assert changes.present == [(measured, 1)] and changes.error == "" and changes.readings == 3


def test_in_a_pipe_only_changes_are_printed(
    workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node = fake.swarm.nodes["id-node2"]

    def become(state: str) -> Callable[[], object]:
        return lambda: node["Status"].update(State=state)

    def unreachable(reason: str) -> Callable[[], object]:
        return lambda: setattr(fake, "refused", reason)

    pauses = [lambda: None, become("down"), lambda: None, unreachable("no leader"), lambda: None, unreachable("")]
    assert watched(workspace, fake, monkeypatch, *pauses, become("ready"), lambda: None) == 0
    shown = capsys.readouterr()
    lines = [line[20:] for line in shown.out.splitlines()]
    first, lost, majority, failed, again, *gone, nothing = lines
    assert first == nothing == "nothing to report"
    assert lost.startswith("error: node2: the node is down [nodes-") and majority.startswith("warning: swarm: 2 of 3")
    assert failed.startswith("could not examine the cluster: ") and "no leader" in failed
    assert again == "the cluster can be examined again"
    assert gone == [f"gone: {lost}", f"gone: {majority}"]
    assert shown.err.count("checking 3 nodes") == 1, "later readings say nothing"
    assert not (workspace.project.logs).exists()


def test_a_terminal_shows_the_present_findings_with_their_time(
    workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    down = fake.swarm.nodes["id-node2"]["Status"]
    assert watched(workspace, fake, monkeypatch, lambda: down.update(State="down"), lambda: None) == 0
    healthy, broken, same = capsys.readouterr().out.split("\x1b[2J\x1b[H")[1:]
    assert "Nothing to report." in healthy
    since = next(line for line in broken.splitlines() if line.startswith("since"))
    assert since in same and "  start it again" in same and "error: node2: the node is down" in since


def test_nodes_are_looked_at_rarely_and_not_during_another_command(
    workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def looks() -> int:
        return len([spec for spec in fake.swarm.created if spec["Name"] == "openbalena-doctor-all"])

    def lock() -> None:
        fake.swarm.create("configs", {"Name": LOCK_CONFIG, "Data": "eA==", "Labels": {"machine": "another"}})

    def unlock() -> None:
        fake.swarm.remove("configs", LOCK_CONFIG)

    counts: list[int] = []
    count = lambda: counts.append(looks())  # noqa: E731
    watched(workspace, fake, monkeypatch, *[count] * 11, lock, count, unlock, *[count] * 10, count, count)
    assert counts[:20] == [1] * 20 and counts[-1] == 2, "refused once, and tried two minutes later"
    assert capsys.readouterr().out.count("nothing to report") == 1

"""swarm-status --watch: redrawn on a terminal, elsewhere only what changes; and how it ends."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import status_clusters as clusters
from fake_engine import FakeEngine
from fake_swarm import RefusedError, Row, stack_service
from status_clusters import status

from openbalena.base.project import ROOT
from openbalena.cli import status as command
from openbalena.cli import status_watch
from openbalena.cli.main import main
from openbalena.cli.status_watch import StatusDisplay
from openbalena.operations.status_changes import status_changes
from openbalena.settings.variables import variables
from openbalena.swarm.state import Cluster

WHOLE = clusters.whole()
LOST = replace(WHOLE, nodes=(*WHOLE.nodes[:2], clusters.node(3, reachability="unreachable")))
FOUR = replace(WHOLE, nodes=(*WHOLE.nodes, clusters.node(4)))
# The readings before and after, and the lines about them.
CHANGES: dict[str, tuple[Cluster, Cluster, list[str]]] = {
    "nothing": (WHOLE, WHOLE, []),
    "a node": (WHOLE, LOST, ["node3: ready → unreachable"]),
    "a leader": (
        WHOLE,
        replace(WHOLE, nodes=(clusters.node(1, leader=False), clusters.node(2, leader=True), clusters.node(3))),
        ["node1: ready, leader → ready", "node2: ready → ready, leader"],
    ),
    "a node that was removed": (FOUR, WHOLE, ["node4: removed"]),
    "a node that joined": (WHOLE, FOUR, ["node4: new, ready"]),
    "a service": (WHOLE, clusters.updating(), ["api: converged 2/2 → working 0/2", "redis: 1 task replaced"]),
    "a service that was removed": (WHOLE, replace(WHOLE, services=WHOLE.services[1:]), ["api: removed"]),
    "a problem": (
        clusters.updating(),
        clusters.changed(
            clusters.updating(),
            "api",
            *(clusters.task("api", slot, 2, 0, state="preparing", error="no space left on device") for slot in (1, 2)),
            *(clusters.task("api", slot, 2, 1, state="rejected", error="no space left on device") for slot in (1, 2)),
            update_state="updating",
        ),
        ["api on node2: no space left on device"],
    ),
    "the same problem again": (clusters.failing(), clusters.failing(), []),
}


@pytest.mark.parametrize(("before", "now", "lines"), CHANGES.values(), ids=CHANGES)
def test_each_change_is_one_line(before: Cluster, now: Cluster, lines: list[str]) -> None:
    assert status_changes(status(before), status(now)) == lines


def watched(monkeypatch: pytest.MonkeyPatch, *, live: bool, size: tuple[int, int] = (80, 40)) -> StatusDisplay:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: live)
    monkeypatch.setenv("COLUMNS", str(size[0]))
    monkeypatch.setenv("LINES", str(size[1]))
    monkeypatch.setattr(time, "strftime", lambda form: "12:00:00")
    return StatusDisplay(print, "./open-balena.sh", verbose=False)


def test_elsewhere_the_first_screen_is_followed_by_what_changes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    display = watched(monkeypatch, live=False)
    display.show(status(WHOLE))
    first = capsys.readouterr().out.splitlines()
    assert first == ["12:00:00", *Path(__file__).with_name("screens").joinpath("whole-80.txt").read_text().splitlines()]
    display.show(status(WHOLE))
    assert capsys.readouterr().out == ""
    display.show(status(LOST))
    assert capsys.readouterr().out == "12:00:00  node3: ready → unreachable\n"
    for _ in range(2):
        display.show_failure("no leader")
    display.show(status(LOST))
    assert capsys.readouterr().out == "12:00:00  no leader\n12:00:00  the swarm answers again\n"


def drawn(text: str) -> list[str]:
    """The lines that a terminal shows after `text`, which moves to its upper left once and erases what was below."""
    assert text.startswith("\x1b[H") and text.count("\x1b[H") == 1 and text.endswith("\x1b[J\n")
    lines = text.removeprefix("\x1b[H").removesuffix("\x1b[J\n").splitlines()
    assert all(line.endswith("\x1b[K") for line in lines)
    return [line.removesuffix("\x1b[K") for line in lines]


def test_a_terminal_is_redrawn_in_place(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    display = watched(monkeypatch, live=True)
    display.show(status(WHOLE))
    first = drawn(capsys.readouterr().out)
    assert first[0] == "12:00:00" and first[1].startswith("openbalena: 9 of 9") and "Changes" not in first
    display.show(status(LOST))
    second = drawn(capsys.readouterr().out)
    assert second[-2:] == ["Changes", "12:00:00  node3: ready → unreachable"]
    assert second[1] == "warning: manager node3 (172.31.77.13) is unreachable"
    display.show_failure("no manager answers")
    third = drawn(capsys.readouterr().out)
    assert third[:4] == ["12:00:00", "no manager answers", "", "The last reading:"] and third[4:6] == second[1:3]


@pytest.mark.parametrize("height", [3, 10, 24])
def test_what_does_not_fit_is_left_out_from_below(
    height: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    display = watched(monkeypatch, live=True, size=(40, height))
    display.show(status(clusters.failing()))
    lines = drawn(capsys.readouterr().out)
    assert len(lines) <= max(height - 1, 2) and max(map(len, lines)) <= 40
    assert lines[0] == "12:00:00" and lines[-1] == "…"


def test_of_many_changes_the_last_ones_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    display = watched(monkeypatch, live=True)
    for cluster in (WHOLE, LOST) * 5:
        display.show(status(cluster))
    lines = drawn(capsys.readouterr().out.rpartition("\x1b[H")[2].join(["\x1b[H", ""]))
    assert len(lines[lines.index("Changes") + 1 :]) == status_watch._KEPT


@pytest.fixture
def at(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The options that name a project whose swarm is the fake engine's, where the api runs."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("OPEN_BALENA_LAB", raising=False)
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    (tmp_path / ".env").write_text("DNS_TLD=my.example.com\nSTACK_NAME=ob\n")
    (tmp_path / ".env").chmod(0o600)
    fake.swarm.node("node1", "manager")
    fake.swarm.create("services", stack_service("api"))
    yield ["--project-directory", str(tmp_path)]


class Interrupted:
    """Ctrl-C in place of the n-th wait; before, what happens meanwhile."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps = list(steps)

    def sleep(self, seconds: float) -> None:
        assert seconds == command._REFRESH
        if not self.steps:
            raise KeyboardInterrupt
        self.steps.pop(0)()

    strftime = staticmethod(time.strftime)


def test_watching_survives_a_reading_that_fails_and_ends_with_ctrl_c(
    fake: FakeEngine, at: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = ("GET", "/nodes", RefusedError(500, "rpc error: no leader"))
    monkeypatch.setattr(command, "time", Interrupted(lambda: fake.swarm.refusals.append(refused), lambda: None))
    assert main(["swarm-status", "--watch", *at]) == 0
    out = capsys.readouterr().out
    changes = [line[10:] for line in out.splitlines() if re.match(r"\d\d:\d\d:\d\d  ", line)]
    assert changes == [
        "this machine's Docker: the swarm does not answer: rpc error: no leader",
        "the swarm answers again",
    ]


def test_a_service_that_does_not_exist_is_not_watched(at: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swarm-status", "--watch", "apu", *at]) == 2
    assert "no service apu" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["next_steps", "screen"])
def test_ctrl_c_elsewhere_is_an_interruption(place: str, at: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, place, interrupt)
    assert main(["swarm-status", "--verbose", *at]) == 130


@pytest.mark.parametrize(
    ("words", "code"), [([], 1), (["api"], 0), (["db"], 1), (["--json"], 1), (["--json", "api"], 0), (["nothing"], 2)]
)
def test_the_exit_code_is_that_of_what_was_asked_for(
    words: list[str], code: int, fake: FakeEngine, at: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.swarm.fates["ob_db"] = [[Row(0, "starting")]]
    fake.swarm.create("services", stack_service("db"))
    assert main(["swarm-status", *words, *at]) == code
    capsys.readouterr()


def test_a_lost_node_is_exit_code_1(fake: FakeEngine, at: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swarm-status", *at]) == 0
    fake.swarm.node("node2")["Status"]["State"] = "down"
    assert main(["swarm-status", *at]) == 1
    assert "warning: worker node2 (10.9.0.2) is down" in capsys.readouterr().err
    assert main(["swarm-status", "api", *at]) == 0


def test_how_to_log_in_is_told_if_asked_for(at: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swarm-status", *at]) == 0
    assert "balena login" not in capsys.readouterr().err
    assert main(["swarm-status", "--verbose", *at]) == 0
    assert "balena login" in capsys.readouterr().err


def test_a_pipe_is_as_wide_as_a_small_terminal(
    fake: FakeEngine, at: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = "local/" + "i" * 100
    fake.swarm.create("services", stack_service("wide", Image=image))
    with Path(os.devnull).open("w") as file:
        monkeypatch.setattr(sys, "__stdout__", file)
        for columns, shown in (("", False), ("200", True), ("100", False)):
            monkeypatch.setenv("COLUMNS", columns)
            assert main(["swarm-status", *at]) == 0
            out = capsys.readouterr().out
            assert (image in out) is shown
            assert max(map(len, out.splitlines())) <= int(columns or 80)


class Terminal:
    """A terminal of that many columns and rows, and the command that runs in it."""

    def __init__(self, columns: int, rows: int, *words: str) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        environment |= {"PYTHONPATH": str(ROOT / "src")}
        # bash makes background processes, of which these tests may be one, ignore SIGINT.
        command = ["env", "--default-signal=INT", sys.executable, "-m", "openbalena", *words]
        self.process = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.seen = ""

    def read_until(self, text: str) -> str:
        """What it has written since the last time, to the end of the screen with `text`."""
        end = time.monotonic() + 30
        while text not in self.seen or not self.seen.endswith("\x1b[J\r\n"):
            ready, _, _ = select.select([self.ours], [], [], max(end - time.monotonic(), 0))
            assert ready, self.seen
            self.seen += os.read(self.ours, 65536).decode()
        seen, self.seen = self.seen, ""
        return seen


def test_a_real_terminal_shows_one_screen_of_its_width(fake: FakeEngine, at: list[str]) -> None:
    image = "local/" + "i" * 70
    fake.swarm.create("services", stack_service("wide", Image=image))
    terminal = Terminal(132, 24, "swarm-status", "--watch", *at)
    try:
        first = terminal.read_until("wide")
        assert first.startswith("\x1b[H") and image in first and first.count("\n") < 24
        fake.swarm.node("node2")["Status"]["State"] = "down"
        assert re.search(r"Changes.*\d\d:\d\d:\d\d  node2: new, down", terminal.read_until("Changes"), re.DOTALL)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(30) == 0
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.ours)

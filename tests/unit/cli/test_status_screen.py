"""The screen of swarm-status, at several widths: screens/*.txt has each as a user sees it."""

from dataclasses import replace
from pathlib import Path

import pytest
import status_clusters as clusters
from status_clusters import status

from openbalena.cli.status_screen import Column, screen, table
from openbalena.operations.cluster_status import ClusterStatus

SCREENS = Path(__file__).with_name("screens")
WIDTHS = (40, 80, 200)
READINGS = {
    "whole": status(clusters.whole()),
    "updating": status(clusters.updating()),
    "failing": status(clusters.failing()),
    "chosen": status(clusters.updating(), "api"),
    "none": status(replace(clusters.whole(), services=(), tasks=())),
}


@pytest.mark.parametrize(
    ("name", "width", "verbose"),
    [*((name, width, False) for name in READINGS for width in WIDTHS), ("failing", 80, True), ("updating", 80, True)],
)
def test_the_screen_is_as_recorded(name: str, width: int, verbose: bool) -> None:
    lines = screen(READINGS[name], width, program="./open-balena.sh", verbose=verbose)
    file = SCREENS / f"{name}{'-verbose' * verbose}-{width}.txt"
    assert lines == file.read_text().splitlines()
    # The longest command in an explanation is not broken, so that it can be copied.
    assert verbose or max(map(len, lines)) <= width


@pytest.mark.parametrize("name", ["whole", "updating", "chosen"])
def test_what_is_not_broken_is_one_screen(name: str) -> None:
    assert len(screen(READINGS[name], 80)) <= 24


def test_the_most_important_columns_remain() -> None:
    shown = [Column("A", ["a" * 5]), Column("B", ["b" * 10], 2), Column("C", ["c" * 5], 1), Column("D", ["d"], 3)]
    heads = {width: table(shown, width)[0].split() for width in (27, 28, 26, 24, 14, 10, 1)}
    assert heads[28] == ["A", "B", "C", "D"] and heads[26] == ["A", "B", "C"] and heads[24] == ["A", "B", "C"]
    assert heads[14] == ["A", "C"] and heads[10] == heads[1] == ["A"]


def test_the_last_column_goes_on_below_itself() -> None:
    shown = [Column("A", ["a"]), Column("B", ["one two three four five six"], 1)]
    assert table(shown, 24) == ["A  B", "a  one two three four", "   five six"]


@pytest.mark.parametrize(
    ("reading", "ends"),
    [
        (status(clusters.whole()), "13 of 13 tasks, reachable at node1, node2"),
        (status(clusters.changed(clusters.whole(), "haproxy")), "11 of 13 tasks, not reachable"),
        (status(clusters.changed(clusters.whole(), "haproxy", ports=())), "11 of 13 tasks"),
    ],
)
def test_the_first_line_tells_what_runs_and_where_clients_come_in(reading: ClusterStatus, ends: str) -> None:
    assert screen(reading, 100)[0].endswith(ends)

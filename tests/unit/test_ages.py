"""How long ago something was."""

from datetime import UTC, datetime, timedelta

import pytest

from openbalena.base.ages import age

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        *((5, "5 s"), (-3, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (8000, "2 h")),
        *((172799, "47 h"), (172800, "2 days")),
    ],
)
def test_the_largest_unit_that_tells_enough(seconds: int, says: str) -> None:
    assert age((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == says


@pytest.mark.parametrize("since", ["", "yesterday", "2026-11-23T00:00:00"])
def test_what_is_not_a_time_with_its_zone_is_unknown(since: str) -> None:
    assert age(since, NOW) == "an unknown time"


def test_the_engines_nanoseconds_are_read() -> None:
    assert age("2026-11-22T23:59:00.123456789Z", NOW) == "59 s"

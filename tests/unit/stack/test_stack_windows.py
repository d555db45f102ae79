"""How long an update watches a new task, against what a failing one takes to show it."""

import pytest
import yaml

from openbalena.base.project import ROOT
from openbalena.settings.types import in_seconds

STACK = yaml.safe_load((ROOT / "docker-stack.yml").read_text())["services"]


@pytest.mark.parametrize("service", ["api", "vpn"])
def test_an_update_outlasts_a_crash_loop_within_a_living_container(service: str) -> None:
    """swarmkit counts failures within `monitor`, but looks at them only between two tasks (`delay`) and at the end."""
    check, deploy = STACK[service]["healthcheck"], STACK[service]["deploy"]
    shows = in_seconds(check["interval"]) * int(check["retries"])
    assert shows > 0
    assert in_seconds(deploy["update_config"]["delay"]) > shows
    assert in_seconds(deploy["update_config"]["monitor"]) > shows
    assert in_seconds(deploy["rollback_config"]["monitor"]) > shows

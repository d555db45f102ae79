"""Steps of a CA's rotation on the deployed demo, and what those see who trust one of its CAs."""

import subprocess
from collections.abc import Sequence
from dataclasses import replace

import acceptance
import pytest
from deployed_project import running, tool
from lab_target import lab_target

from openbalena import verify
from openbalena.base.project import Project
from openbalena.verify import CheckError, Target, vpn

SEEN_BY_CLIENTS = [check for check in verify.CHECKS if check.name in ("certificate", "ping", "login", "vpn")]


def outside(project: Project, authority: str = "") -> Target:
    """The deployment as one sees it who trusts `authority` (PEM) alone; as `verify` does without it."""
    found = lab_target(project)
    return replace(found, authority=authority, vpn_authority=authority) if authority else found


def failed(to: Target, checks: Sequence[verify.Check] = verify.CHECKS) -> list[str]:
    results = verify.run_checks(checks, to, lambda _: None)
    return [result.line() for result in results if result.outcome != acceptance.GREEN[result.check.name]]


def refused(project: Project, authority: str) -> bool:
    """Whether one who trusts `authority` alone takes neither HAProxy's nor the VPN's certificate."""
    (found,) = verify.run_checks(SEEN_BY_CLIENTS[:1], outside(project, authority), lambda _: None)
    with pytest.raises(CheckError, match="not issued by the deployment's CA"):
        vpn.tunnel(replace(outside(project), vpn_authority=authority))
    return found.outcome == "FAIL"


def step(project: Project, *options: str) -> "subprocess.CompletedProcess[str]":
    done = tool(project, "secrets", "rotate", "CA", "--yes", "--after-days", "0", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def rolled(project: Project) -> set[str]:
    """Deploy; the services whose tasks it replaced, none of which is left."""
    before = running()
    done = tool(project, "swarm-up")
    assert done.returncode == 0, done.stdout + done.stderr
    now = running()
    changed = {service for service in now if now[service] != before[service]}
    assert all(not now[service] & before[service] for service in changed)
    return changed

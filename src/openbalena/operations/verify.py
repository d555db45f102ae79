"""Check a running deployment from outside."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from openbalena import lab, settings, verify
from openbalena.base.errors import UsageError
from openbalena.base.files import read_text
from openbalena.base.names import INGRESS_LABEL
from openbalena.operations.engines import default_engine
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.pki import expiry
from openbalena.pki.consistency import pki_problems
from openbalena.verify.network import lookup


@dataclass(frozen=True)
class VerifyOptions:
    """`addresses` are those where port 443 answers (default: found by DNS or in the lab); `openvpn` is the program."""

    addresses: tuple[str, ...] = ()
    openvpn: str | None = None


@dataclass(frozen=True)
class VerifyResult:
    """One result for each check, in order."""

    checks: tuple[verify.Result, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.outcome != "FAIL" for check in self.checks)


def verify_deployment(
    options: VerifyOptions, workspace: Workspace, reporter: Reporter, finished: Callable[[verify.Result], None]
) -> VerifyResult:
    """Run the checks; `finished` is called with each result as it comes.

    Raises UsageError for settings that are wrong or not there yet.
    """
    target = verification_target(options, workspace, reporter.progress)
    values = settings.read(workspace.project)
    directory = Path(values["PKI_DIR"])
    inconsistent = map(str, pki_problems(directory, target.dns_tld, ended=False))
    for warning in [*values.warnings, *inconsistent, *expiry.warnings(directory)]:
        reporter.warn(warning)
    return VerifyResult(tuple(verify.run_checks(verify.CHECKS, target, finished)))


def failing_checks(workspace: Workspace, reporter: Reporter) -> tuple[verify.Result, ...]:
    """Run the checks, and report those that fail as progress. Raises UsageError as `verify_deployment` does."""
    reporter.progress("verifying the deployment over its public ports")
    result = verify_deployment(VerifyOptions(), workspace, reporter, lambda _: None)
    failed = tuple(check for check in result.checks if check.outcome == "FAIL")
    for check in failed:
        reporter.progress(check.line())
    return failed


def verification_target(options: VerifyOptions, workspace: Workspace, report: Callable[[str], None]) -> verify.Target:
    """The deployment in `workspace`. Raises UsageError for settings that are wrong or not there yet."""
    values = settings.read_configured(workspace.project)
    directory = Path(values["PKI_DIR"])
    bundle = directory / "ca-bundle.pem"
    return verify.Target(
        dns_tld=values["DNS_TLD"],
        addresses=options.addresses or public_addresses(workspace, f"api.{values['DNS_TLD']}"),
        looked_up=not options.addresses and not workspace.lab,
        authority=verify.authority(values, directory),
        values={**values, **values.secrets, "COMPOSE_PROFILES": ",".join(values.profiles)},
        openvpn=_openvpn_program(options.openvpn, workspace),
        report=report,
        vpn_authority=read_text(bundle).decode() if bundle.exists() else "",
    )


def public_addresses(workspace: Workspace, host: str) -> tuple[str, ...]:
    """Where the deployment answers: the lab's ingress nodes, else what DNS has for `host`; empty if that fails."""
    if workspace.lab:
        return _lab_addresses(settings.read(workspace.project)["STACK_NAME"])
    try:
        return lookup(host)
    except OSError:
        return ()


def _lab_addresses(stack: str) -> tuple[str, ...]:
    """The ingress nodes, or without a stack the one node that docker compose acts on."""
    from openbalena.swarm import placement, state

    with default_engine(lab=True).client() as client:
        cluster = state.read_cluster(client, stack)
    if cluster.services:
        return tuple(node.address for node in placement.nodes_with_label(cluster.nodes, INGRESS_LABEL))
    endpoint = lab.endpoint()
    return tuple(node.address for node in endpoint.nodes if endpoint.host == f"unix://{node.socket}")


def _openvpn_program(name: str | None, workspace: Workspace) -> Path | None:
    if name:
        program = shutil.which(name)
        if program is None:
            raise UsageError(f"--openvpn {name}: no such program")
        return Path(program)
    if workspace.lab:
        return lab.endpoint().cli.parent / "openvpn"
    program = shutil.which("openvpn")
    return Path(program) if program else None

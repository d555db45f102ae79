"""pki sync: HAProxy's certificate to every ingress node of a running cluster, without replacing HAProxy's tasks."""

import argparse
from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbalena.cli.context import Context
from openbalena.errors import OperationError, UsageError
from openbalena.settings import Settings

if TYPE_CHECKING:
    from openbalena.cluster.engine import Engine

# Seconds in which HAProxy has noticed the new file, which it looks for every 10 s where the kernel tells it nothing.
_NOTICED = 30.0


def run(args: argparse.Namespace, context: Context, values: Settings) -> int:
    """Exit code 1 where an ingress node goes on serving another certificate."""
    from openbalena.cluster import again, certificate, deploy, lock, one_service
    from openbalena.cluster import engine as engines
    from openbalena.operations import settings_sync
    from openbalena.secrets import pki

    stack, directory = values["STACK_NAME"], Path(values["PKI_DIR"])
    engine = engines.current(context.lab)
    with engine.client() as client:
        engines.require_manager(client, engine)
        with lock.held(client, "pki sync", args.take_over):
            settings_sync.check(client, context.project, values)
            if values.get("ACME_EMAIL"):
                _from_cert_manager(engine, client, context, values)
            pki.check(directory, values["DNS_TLD"])
            _require_trust(client, values)
            chain = (directory / "chain.pem").read_bytes()
            settings_sync.keep(client, context.project, values)
            _announce(args, context, client, values)

            def publish() -> bool:
                changed = certificate.publish(client, stack, chain)
                if changed:
                    context.console.progress("waiting for haproxy-certs on every ingress node …")
                one_service.until_runs(client, stack, certificate.SERVICE, args.timeout)
                return changed

            changed = again.after_faults(client, stack, publish, context.console.progress)
            deploy.remove_unused(client, stack)
        report(context, client, values, chain)
        _warn_of_others(context, client, values)
    context.console.say("The cluster has the certificate." if changed else "The cluster had the certificate already.")
    return 0


def _announce(args: argparse.Namespace, context: Context, client: Any, values: Settings) -> None:
    """Have balena-ca's OCSP responder know the certificate before clients see it.

    Only a warning where that fails: a certificate that ends would cut off everyone, one without an OCSP answer those
    who insist on one.
    """
    from openbalena.cluster import again, certificate, one_service
    from openbalena.secrets import issued, pki

    stack, directory = values["STACK_NAME"], Path(values["PKI_DIR"])
    if not pki.serves_own(directory):
        return

    def announce() -> None:
        if certificate.announce(client, stack, issued.sql(directory)):
            context.console.progress("waiting for balena-ca, whose OCSP responder is told of the certificate …")
        one_service.until_runs(client, stack, certificate.AUTHORITY, args.timeout)

    try:
        again.after_faults(client, stack, announce, context.console.progress)
    except OperationError as error:
        context.console.warn(
            "the OCSP responder does not know the certificate yet, and clients that insist on its answer refuse it: "
            f"run ./open-balena.sh swarm-up ({error})"
        )


def _from_cert_manager(engine: "Engine", client: Any, context: Context, values: Settings) -> None:
    """Take the certificate that cert-manager got by ACME into the PKI; have it renewed first where that is due."""
    from openbalena.cluster import acme
    from openbalena.secrets.acme import BOUND, due, take

    directory = Path(values["PKI_DIR"])
    context.console.progress(f"asking cert-manager for its certificate (at most {BOUND:.0f} s)")
    chain = acme.fetch(engine, client, values)
    if due(chain, datetime.now(UTC)):
        context.console.progress("it ends within a week: starting cert-manager anew, which renews it")
        acme.again(engine, client, values["STACK_NAME"])
        old, chain = chain, acme.fetch(engine, client, values)
        if chain == old:
            said = acme.last_words(engine, client, values)
            raise OperationError(f"cert-manager did not renew its certificate; the old one is served. {said}")
    if take(directory, chain, values["DNS_TLD"]):
        context.console.progress(f"{directory / 'chain.pem'}: taken from cert-manager")


def _require_trust(client: Any, values: Settings) -> None:
    """Raise OperationError where the services trust other CAs than the certificate's, and would refuse it."""
    from openbalena.cluster import certificate, state
    from openbalena.secrets import check, pki

    directory = Path(values["PKI_DIR"])
    trusted = certificate.trusted(state.read(client, values["STACK_NAME"]))
    if trusted is None:
        return
    chain = (directory / "chain.pem").read_bytes()
    # Without a CA of its own the stack trusts public ones.
    if not (check.under(chain, b64decode(trusted)) if trusted else not pki.serves_own(directory)):
        raise OperationError(
            f"{directory / 'chain.pem'}: the services trust another CA than this certificate's: run ./open-balena.sh "
            "swarm-up, which brings both. Nothing was changed in the cluster"
        )


def _warn_of_others(context: Context, client: Any, values: Settings) -> None:
    """Say that other renewed certificates need a deploy: their services' tasks have to be replaced."""
    from openbalena.cluster import carried, state

    directory = Path(values["PKI_DIR"])
    files = {key: (directory / file).read_bytes() for key, file in carried.FILES.items()}
    if other := carried.stale(state.read(client, values["STACK_NAME"]), files):
        names = ", ".join(carried.FILES[key] for key in other)
        context.console.warn(f"{names}: the services have older ones: run ./open-balena.sh swarm-up, which rolls them")


def report(context: Context, client: Any, values: Settings, chain: bytes) -> None:
    """Say which ingress nodes serve the certificate. Raises OperationError where one serves another."""
    from openbalena.cluster import certificate, labels, placement, state

    nodes = state.read(client, values["STACK_NAME"]).nodes
    where = {node.address: node.hostname for node in labels.holders(nodes, placement.INGRESS_LABEL) if node.usable}
    if not where:
        raise UsageError(f"no node has the label {placement.INGRESS_LABEL}=true: run ./open-balena.sh swarm-init")
    # The mesh chooses who answers.
    meshed = values["INGRESS_MODE"] == "mesh"
    whose = " (by the routing mesh: the answer is one HAProxy's, not this node's)" if meshed else ""
    left = certificate.not_serving(where, f"api.{values['DNS_TLD']}", chain, _NOTICED)
    for address, name in where.items():
        if address not in left:
            context.console.say(f"{name} ({address}) serves it{whose}.")
    other = {address: why for address, why in left.items() if why == certificate.OTHER}
    for address in left.keys() - other.keys():
        context.console.warn(f"{where[address]} ({address}) could not be asked on port 443: {left[address]}")
    if other:
        names = ", ".join(where[address] for address in other)
        raise OperationError(f"{names}: {certificate.OTHER}: see ./open-balena.sh swarm-logs haproxy")

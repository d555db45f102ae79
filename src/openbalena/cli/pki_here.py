"""pki on one machine, where HAProxy serves what lies in a volume: show, renew and sync speak of that one."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from openbalena.cli.context import Context
from openbalena.errors import OperationError
from openbalena.invocation import invocation
from openbalena.settings import Settings

if TYPE_CHECKING:
    from openbalena.standalone.served import Served

USE = "HAProxy on this machine: every public name"
# Seconds in which HAProxy has noticed another file, which it looks for every 10 s where the kernel tells it nothing.
_NOTICED = 30.0


def find(context: Context, values: Settings) -> "Served | None":
    """What this machine's HAProxy serves; None, with a warning, too where the engine cannot be asked."""
    from openbalena.standalone import served

    try:
        return served.find(context.project, values, lab=context.lab)
    except OperationError as error:
        context.console.warn(f"whether HAProxy on this machine serves another certificate could not be seen: {error}")
        return None


def says(served: "Served", context: Context) -> str:
    """A sentence: who renews it, and when."""
    if served.private:
        how = (
            "cert-manager has it issued by balena-ca, and renews it when it starts within the last 7 days. "
            f"{_command(context)} pki renew starts it then"
        )
    elif served.public:
        how = f"cert-manager got it by ACME. {_command(context)} auto-pki renews it in its last 7 days"
    else:
        how = f"it is one of your own. {_command(context)} custom-pki brings another one"
    return f"On one machine HAProxy serves the certificate in the volume {served.volume}, not chain.pem: {how}."


def renew(served: "Served", context: Context, values: Settings) -> None:
    """Have cert-manager renew it where it would. Raises OperationError where it does not."""
    from openbalena.cli.machine import show_healthy
    from openbalena.cli.reporter import ConsoleReporter
    from openbalena.operations.machine_services import RestartOptions, restart_services
    from openbalena.secrets.acme import due
    from openbalena.standalone import certificates

    console, days = context.console, served.held.days(datetime.now(UTC))
    if not (served.private and due(served.chain, datetime.now(UTC))):
        console.say(f"{says(served, context)} It has {days} days to go and stays.")
        return
    console.progress(f"it has {days} days to go: starting cert-manager anew, which renews it")
    options, workspace = RestartOptions((certificates.MAKER,)), context.workspace
    show_healthy(restart_services(options, workspace, ConsoleReporter(context)), context)
    after = find(context, values)
    if after is None or after.chain == served.chain:
        raise OperationError(
            f"cert-manager did not renew the certificate in {served.volume}, which ends on {served.held.end:%Y-%m-%d}: "
            f"see {_command(context)} logs cert-manager"
        )
    console.say(
        f"HAProxy's certificate in the volume {after.volume} was renewed: it ends on {after.held.end:%Y-%m-%d}."
    )


def sync(served: "Served", context: Context, values: Settings) -> None:
    """Say what applies in the place of a cluster's sync. Raises OperationError where port 443 serves another one."""
    from openbalena.cli.verify import target
    from openbalena.cluster import certificate

    console, host = context.console, f"api.{values['DNS_TLD']}"
    console.say(f"{says(served, context)} There is nothing to bring anywhere.")
    addresses = target(context, []).addresses
    left = certificate.not_serving(addresses, host, served.chain, _NOTICED)
    for address in addresses:
        if address not in left:
            console.say(f"{host} ({address}) serves it.")
    other = [address for address, why in left.items() if why == certificate.OTHER]
    for address in left.keys() - other:
        console.warn(f"{host} ({address}) could not be asked on port 443: {left[address]}")
    if not addresses:
        console.warn(f"{host} resolves nowhere from here, so what it serves was not looked at")
    if other:
        raise OperationError(
            f"{', '.join(other)}: {certificate.OTHER} than {served.volume} holds: see {_command(context)} logs haproxy"
        )


def _command(context: Context) -> str:
    return invocation(context.project, lab=context.lab)

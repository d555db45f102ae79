"""Waiting for the certificate by ACME, with a line now and then, and what is said where none comes."""

from pathlib import Path
from typing import TYPE_CHECKING

from openbalena.cli.context import Context
from openbalena.errors import OperationError

if TYPE_CHECKING:
    from openbalena.standalone.deployment import Standalone

# Seconds between two lines.
_LINE = 15.0


def wait(standalone: "Standalone", context: Context, *, again: bool) -> str:
    """Bring cert-manager's certificate into the PKI; nothing is done where the settings ask for none.

    `again`: have cert-manager try once more, where it is done and has none or one that ends within a week. Returns why
    none came, with cert-manager's last words, or ""; raises OperationError where cert-manager comes to no end.
    """
    values = standalone.settings
    if not values.get("ACME_EMAIL"):
        return ""
    from openbalena.secrets import acme
    from openbalena.standalone.acme import obtain

    said = 0.0

    def report(seconds: float) -> None:
        nonlocal said
        if seconds >= said:
            said += _LINE
            context.console.progress(f"waiting for cert-manager, {seconds:.0f} s of at most {acme.BOUND:.0f}")

    state = obtain(standalone, again=again, report=report)
    failed = not state.done or not state.chain or state.old
    why = _failure(standalone, ended=state.done, renewal=bool(state.chain)) if failed else ""
    if not state.done:
        raise OperationError(why)
    if state.chain and acme.take(Path(values["PKI_DIR"]), state.chain, values["DNS_TLD"]):
        context.console.say(f"{Path(values['PKI_DIR']) / 'chain.pem'}: the certificate that cert-manager got by ACME")
    return why


def _failure(standalone: "Standalone", *, ended: bool, renewal: bool) -> str:
    from openbalena.cli.compose_progress import last_lines
    from openbalena.secrets import acme

    what = "no new certificate" if renewal else "no certificate"
    when = "and has given up" if ended else f"within {acme.BOUND:.0f} s"
    meanwhile = "the old one is served" if renewal else "the private CA's is served"
    said = acme.last_words(last_lines(standalone, "cert-manager", acme.READ), "./open-balena.sh auto-pki")
    return f"cert-manager got {what} by ACME {when}; meanwhile {meanwhile}. {said}"

"""secrets rotate CA: what it prints."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter
from openbalena.operations.hints import invocation
from openbalena.operations.rotate_ca import ADVISED_DAYS, RotateCaOptions, RotateCaOutcome, rotate_ca

if TYPE_CHECKING:
    from openbalena.operations.rotate_ca import RotateCaResult

# By the phase that begins: what must be done in it.
_TODO = {
    0: "The rotation is complete. The old CA's files are deleted here; swarm-up removes them from the cluster's copy.",
    1: "Then install the new root on every device and every machine that trusts the CA, and wait until all have it: "
    f"{ADVISED_DAYS} days if you cannot tell (see docs/certificates.md). Then run secrets rotate CA again.",
    2: "Now replace certificates that you had issued by the old CA yourself. Wait until nothing trusts only the old "
    f"root: {ADVISED_DAYS} days if you cannot tell. Then run secrets rotate CA again.",
    3: "If devices turn out to be missing, secrets rotate CA --back and swarm-up restore trust in the old CA. If none "
    "is missing, run secrets rotate CA again: it deletes the old CA's key.",
}


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if the previous phase has not reached the cluster, or the user does not agree."""
    options = RotateCaOptions(args.back, args.yes, args.after_days, args.take_over)
    result = rotate_ca(options, context.workspace, ConsoleReporter(context, args.yes))
    if result.outcome is RotateCaOutcome.DECLINED:
        context.console.say("Nothing was changed.")
        return 1
    if result.outcome is RotateCaOutcome.COMPLETED:
        context.console.say("The interrupted step is complete now.")
    _show_next(result, context)
    return 0


def _show_next(result: RotateCaResult, context: Context) -> None:
    rolls = f", which updates {', '.join(result.services)}" if result.services else ""
    context.console.say(f"{result.directory}: {result.phase.text}")
    context.console.say(f"Next: {invocation(context.project, lab=context.lab)} swarm-up{rolls}")
    context.console.say(_TODO[result.phase])

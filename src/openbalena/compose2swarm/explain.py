"""Say what Swarm makes of a key, and what to write instead."""

from argparse import Namespace, _ActionsContainer
from dataclasses import asdict

from openbalena.compose2swarm.terminal import Output
from openbalena.stack.explain import explain

SUMMARY = "say what Swarm makes of a key, and what to write instead"


def configure(parser: _ActionsContainer) -> None:
    """Add the options."""
    text = "a key of a service, such as devices or deploy.resources, or the rule of a finding"
    parser.add_argument("key", metavar="KEY", help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: Namespace, output: Output) -> int:
    """Raises UsageError for an unknown key."""
    found = explain(args.key)
    if args.json:
        output.json(asdict(found))
        return 0
    output.say(f"{found.key}: {found.meaning}")
    if found.compiled:
        output.say(f"compiled: {found.compiled}", f"plain `docker stack deploy`: {found.native}")
    if found.instead:
        output.say(f"write instead: {found.instead}")
    return 0

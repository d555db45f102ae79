"""Write .env with everything a deployment needs, and make its certificates.

At a terminal it asks; without one, or with --yes, it takes options, environment variables and the .env that is there.
What is set stays: tokens and certificates are made once, and another value that would change is shown first.
Secrets have no option, since options can be read in the process list: set them as environment variables.
--from-cluster brings back what another machine deployed, so that this one can administer the cluster too.
"""

import argparse
import sys
from pathlib import Path

from openbalena import settings
from openbalena.cli.context import Context
from openbalena.cli.questions import ask
from openbalena.errors import OperationError, UsageError
from openbalena.files import write_atomic
from openbalena.invocation import invocation
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.secrets import pki, tokens
from openbalena.settings.plan import Plan, plan, shown
from openbalena.settings.variables import variables
from openbalena.standalone import takeover


def configure(parser: argparse.ArgumentParser) -> None:
    """An option for every variable that is asked for."""
    parser.set_defaults(command="")
    parser.add_argument("--yes", action="store_true", help="ask nothing and agree to every change")
    parser.add_argument(
        "--from-cluster", action="store_true", help="take the settings and the PKI of the stack that runs on the swarm"
    )
    parser.add_argument(
        "--take-over", metavar="LOCK", default="", help="(--from-cluster) take over the lock of a deploy that is gone"
    )
    for variable in variables().values():
        if variable.option:
            parser.add_argument(variable.option, dest=variable.name, metavar="VALUE", help=variable.help)


def run(args: argparse.Namespace, context: Context) -> int:
    """Settings first, then certificates: each is complete or not there, so another run finishes what was cut off."""
    project = context.project
    answers = {name: value for name, value in vars(args).items() if name in variables() and value is not None}
    if args.from_cluster:
        from openbalena.cli import from_cluster

        with exclusive_lock(project.directory):
            return from_cluster.run(args, context)
    if args.take_over:
        raise UsageError("config: --take-over is for --from-cluster alone")
    with exclusive_lock(project.directory):
        if reason := settings.put_aside(project):
            raise UsageError(reason)
        if not args.yes and sys.stdin.isatty() and sys.stderr.isatty():
            answers |= ask(answers, settings.current(project))
        now = settings.load(project, answers)
        if not now.get("DNS_TLD"):
            raise UsageError(
                f"{project.env_file}: DNS_TLD is not set: say config --dns-tld my.example.com (your domain), or set "
                "the environment variable DNS_TLD"
            )
        found = takeover.find(project, now, lab=context.lab)
        taken = {name: value for name, value in found.tokens.items() if not now.get(name)}
        made = tokens.missing({**now, **taken})
        planned = plan(project, answers, {**made, **taken})
        directory = Path(now["PKI_DIR"])
        pki.check(directory, now["DNS_TLD"])
        certificate, key, authority = pki.own(now)
        if certificate:
            from openbalena.secrets import imported

            imported.checked(certificate, key, authority, now["DNS_TLD"])
        if not _agreed(planned, context, yes=args.yes):
            context.console.say("Nothing was changed.")
            return 1
        try:
            _write(project.env_file.resolve(), planned)
            if found.pki and not (directory.exists() and any(directory.iterdir())):
                takeover.adopt(directory, found.pki, now["DNS_TLD"])
                context.console.say(f"Certificates of the volumes {found.name}_* were taken over.")
            pki.ensure(directory, now["DNS_TLD"])
            if certificate:
                pki.use_certificate(directory, certificate, key)
        except OSError as error:
            place = error.filename or project.directory
            raise OperationError(
                f"{place}: cannot be written: {error.strerror}: correct that and run config again, which goes on"
            ) from None
    if taken:
        context.console.say(f"Tokens of the volume {found.name}_resin-data taken over: {', '.join(taken)}")
    _tell(planned, list(made), directory, context)
    if args.command:  # another command that calls this one goes on by itself
        ours = invocation(project, lab=context.lab)
        context.console.say(f"Next: {ours} swarm-init (a cluster), or {ours} up (this machine)")
    return 0


def _agreed(planned: Plan, context: Context, *, yes: bool) -> bool:
    # COMPOSE_PROFILES follows from the rest: whoever agrees to that agrees to it.
    asked = {name: pair for name, pair in planned.changed.items() if name != "COMPOSE_PROFILES"}
    for name, (old, new) in asked.items():
        context.console.progress(f"{name}: {shown(name, old)} -> {shown(name, new) or '(empty)'}")
    return not asked or context.console.confirm("Change these settings?", yes=yes)


def _write(path: Path, planned: Plan) -> None:
    if planned.text != planned.old_text:
        write_atomic(path, planned.text, 0o600)
    path.chmod(0o600)


def _tell(planned: Plan, made: list[str], directory: Path, context: Context) -> None:
    say = context.console.say
    for warning in settings.load(context.project).warnings:
        context.console.warn(warning)
    say(f"{context.project.env_file}: {'written' if planned.text != planned.old_text else 'unchanged'}")
    if made:
        say(f"Tokens made: {', '.join(made)}")
    say(f"Certificates: {directory}")
    say(f"Profiles: {', '.join(planned.profiles) or 'none'}")

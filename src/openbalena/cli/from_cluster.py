"""config --from-cluster: settings and PKI of a deployment that runs, for another machine to administer it."""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from openbalena import settings
from openbalena.cli.context import Context
from openbalena.errors import OperationError


def run(args: argparse.Namespace, context: Context) -> int:
    """What is there already is kept beside the new, under another name, after a question; 1 where the answer is no."""
    from openbalena.cluster import engine as engines
    from openbalena.cluster import lock
    from openbalena.operations import settings_sync

    console, project = context.console, context.project
    stack = settings.current(project)["STACK_NAME"]
    engine = engines.current(context.lab)
    with engine.client() as client:
        engines.require_manager(client, engine)
        # Of two one-shot tasks of the same name the later replaces the other; and a deploy removes old settings.
        with lock.held(client, "config --from-cluster", args.take_over):
            console.progress(f"asking the swarm for the settings of {stack} …")
            packed = settings_sync.fetch(engine, client, stack)
    there = [path for path in (project.env_file, project.pki, project.override_file) if path.exists()]
    suffix = f".{datetime.now(UTC):%Y%m%d-%H%M%S}"
    names = ", ".join(str(path) for path in there)
    if there and not console.confirm(f"Replace {names}? (They are kept as *{suffix}.)", yes=args.yes):
        console.say("Nothing was changed.")
        return 1
    try:
        for path in there:
            path.rename(_aside(path, suffix))
        restored = settings_sync.restore(packed, project)
    except OSError as error:
        raise OperationError(f"{error.filename}: {error.strerror}: correct that and run it again") from None
    console.say(f"{project.directory}: {len(restored)} files came from the cluster: {', '.join(restored)}")
    return 0


def _aside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)

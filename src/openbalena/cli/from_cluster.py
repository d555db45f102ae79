"""config --from-cluster: fetch settings and PKI of a deployment that runs, so that this machine can administer it."""

import argparse

from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter


def run(args: argparse.Namespace, context: Context) -> int:
    """Existing files are kept under another name, after a question; exit code 1 if the answer is no."""
    from openbalena.operations.fetch_settings import FetchSettingsOptions, fetch_settings

    workspace = context.workspace
    result = fetch_settings(FetchSettingsOptions(args.take_over), workspace, ConsoleReporter(context, args.yes))
    if not result.files:
        context.console.say("Nothing was changed.")
        return 1
    files = ", ".join(result.files)
    context.console.say(f"{context.project.directory}: fetched {len(result.files)} files from the cluster: {files}")
    return 0

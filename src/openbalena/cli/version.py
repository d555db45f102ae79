"""version: what is installed and running."""

from argparse import Namespace
from dataclasses import asdict

from openbalena.cli.console import Context
from openbalena.cli.options import JSON, command


@command(JSON)
def version(args: Namespace, context: Context) -> None:
    """Print the versions of this program, Python and the Docker Engine that the commands use, if it can be reached."""
    from openbalena.operations.versions import read_versions

    found = read_versions(context.workspace)
    if args.json:
        context.console.json(asdict(found))
        return
    engine = found.engine
    about = f"{engine.version} (API {engine.api}, {engine.platform})" if engine else "not reachable"
    context.console.table(
        [
            ("open-balena.sh", f"{found.version} (commit {found.commit})" if found.commit else found.version),
            ("Python", found.python),
            (f"Docker Engine ({engine.name})" if engine else "Docker Engine", about),
        ]
    )
    if found.reason:
        context.console.progress(found.reason)

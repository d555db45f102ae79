"""Put the stack's volumes on an NFS server, after every node has shown that it can use the export.

At a terminal it asks for what options and .env do not say. Nothing is written unless every node can mount the
export, make the volumes' directories there and own what it writes.
"""

import argparse
from typing import TYPE_CHECKING, Any

from openbalena.cli import nfs_options
from openbalena.cli.context import Context
from openbalena.errors import OperationError
from openbalena.invocation import invocation
from openbalena.operations.settings_lock import exclusive_lock

if TYPE_CHECKING:
    from openbalena.cluster.engine import Engine
    from openbalena.operations.deployment import Deployment

# Seconds for one node: pulling the image, and the 180 after which mount(2) gives a silent server up (measured).
_TIMEOUT = 240.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    nfs_options.configure(parser)
    parser.add_argument("--take-over", metavar="LOCK", default="", help="take over the lock of a deploy that is gone")


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 where a node cannot use the export: each is named with the reason, and nothing is changed."""
    from openbalena.cluster import engine as engines
    from openbalena.cluster import lock
    from openbalena.operations import deployment
    from openbalena.stack.emit import dump
    from openbalena.storage import nfs

    with exclusive_lock(context.project.directory):
        answers = nfs_options.answers(args, context)
        loaded = deployment.load(context.project, lab=context.lab, extra=answers)
        nfs.require_server(loaded.settings)
        names = nfs.chosen(loaded.settings, loaded.compiled.stateful)
        nfs_options.require_agreed(names, args, context)
        engine = engines.current(context.lab)
        with engine.client() as client:
            engines.require_manager(client, engine)
            with lock.held(client, "swarm-nfs-setup", args.take_over):
                _check(loaded, context, engine, client, names)
        head = "# docker-stack-nfs.yml.template with this deployment's settings; swarm-up deploys the same by itself.\n"
        text = head + dump({"volumes": nfs.volumes(loaded.settings, names)})
        nfs_options.write(context, context.project.directory / "docker-stack-nfs.yml", text, answers, names)
    ours = invocation(context.project, lab=context.lab)
    context.console.say(f"Next: {ours} swarm-up, which makes these volumes there.")
    return 0


def _check(loaded: "Deployment", context: Context, engine: "Engine", client: Any, names: tuple[str, ...]) -> None:
    from openbalena.cli import swarm_up
    from openbalena.cluster import demand, job, state
    from openbalena.cluster.nodes import described
    from openbalena.storage import guard, nfs, record

    stack, console = loaded.settings["STACK_NAME"], context.console
    cluster = state.read(client, stack)
    known = record.note(client, stack, cluster)
    services = demand.services(loaded.compiled.document, stack)
    if hidden := list(guard.shadowed(services, known, names)):
        raise OperationError("nothing was changed:\n  " + "\n  ".join(hidden))
    resolved, _ = swarm_up.resolved(loaded, context, engine, cluster)
    image = demand.services(resolved.compiled.document, stack)[0].image
    mount = job.Mount("", nfs.DIRECTORY, stack, read_only=False, options=nfs.driver_options(loaded.settings))
    jobs = [
        job.Job("nfs", node.id, image, nfs.check_script(names, node.id), [mount])
        for node in cluster.nodes
        if node.usable
    ]
    console.progress(f"mounting {loaded.settings['NFS_HOST']}:{loaded.settings['NFS_PATH']} on {len(jobs)} nodes …")
    failed = 0
    for asked, outcome in zip(jobs, job.run(engine, client, jobs, _TIMEOUT), strict=True):
        why = nfs.meaning(outcome)
        failed += bool(why)
        console.say(f"  {cluster.hostname(asked.node)}: {why or 'mounted, written, owned and read'}")
    for node in cluster.nodes:
        if not node.usable:
            console.warn(f"{node.hostname} is {described(node)}: it was not checked")
    if failed:
        raise OperationError(f"{failed} of {len(jobs)} nodes cannot use the export; nothing was changed")

"""The table of commands. A command's module is imported only when that command is called."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace

PROGRAM = "./open-balena.sh"
DIRECTORY_OPTION = "--project-directory"

GROUPS = {
    "standalone": "One machine, Docker Compose",
    "cluster": "Many machines, Docker Swarm",
    "lab": "Local test cluster",
    "operations": "Operations",
}


@dataclass(frozen=True)
class Command:
    """One command.

    `summary` is its line in `help`. `module` is the one below openbalena.cli that declares it, by its name with `_` for
    each `-` (see options.command).
    """

    name: str
    group: str
    summary: str
    module: str
    aliases: tuple[str, ...] = ()

    def is_logged(self, args: "Namespace") -> bool:
        """Whether this call may change something, and so leaves a log: see run_log."""
        reading = getattr(args, "action", "") in ("show", "list", "check") or getattr(args, "dry_run", False)
        reading |= self.name == "doctor" and not (args.fix or args.dismiss)
        return self.group != "lab" and self.name not in _READING and not reading

    def changes_cluster(self, args: "Namespace") -> bool:
        """Whether this call may change a cluster, and so is recorded there: see operations.audit."""
        words = f"{self.name} {getattr(args, 'action', '')}".strip()
        options = CHANGING_WITH.get(words)
        if options is not None:
            return any(getattr(args, name, False) for name in options)
        return words in CHANGING and not getattr(args, "dry_run", False)


COMMANDS = (
    Command("config", "standalone", "write .env, from options or by prompting for what is needed", "settings"),
    Command("up", "standalone", "build and start the services, wait until they are healthy", "machine", ("deploy",)),
    Command("wait", "standalone", "wait until the services are healthy", "machine"),
    Command("verify", "standalone", "check a running deployment over its public ports", "verify"),
    Command("status", "standalone", "show the services and their health", "status"),
    Command("logs", "standalone", "show the services' logs", "machine"),
    Command("restart", "standalone", "restart the services, or those named", "machine"),
    Command("update", "standalone", "pull newer images, build and start what changed", "machine"),
    Command("stop", "standalone", "stop the services and keep their containers", "machine"),
    Command("down", "standalone", "remove the containers and networks and keep the volumes", "machine"),
    Command("destroy", "standalone", "remove containers, networks and volumes, after asking", "machine", ("clean",)),
    Command("lint", "standalone", "check the settings and the service definitions", "settings"),
    Command("showenv", "standalone", "print the effective settings", "settings"),
    Command("showpass", "standalone", "print the superuser's password", "settings"),
    Command(
        "auto-pki", "standalone", "get and renew a certificate from Let's Encrypt by DNS challenge", "certificates"
    ),
    Command("custom-pki", "standalone", "use a custom certificate", "certificates", ("pki-custom",)),
    Command("self-signed", "standalone", "print the private CA, or make this machine trust it", "certificates"),
    Command("nfs-setup", "standalone", "put the volumes on an NFS server", "nfs"),
    Command("swarm-init", "cluster", "make this node a manager, label it, print the join commands", "swarm"),
    Command("swarm-join", "cluster", "add a machine as a node, over ssh", "nodes"),
    Command("swarm-build", "cluster", "build the images and distribute them to every node", "swarm"),
    Command("swarm-up", "cluster", "deploy the stack and wait until every service runs", "swarm"),
    Command("swarm-scale", "cluster", "change how many tasks services have", "swarm"),
    Command("swarm-drain", "cluster", "move a node's tasks away, for its maintenance", "nodes"),
    Command("swarm-activate", "cluster", "let a drained node run tasks again", "nodes"),
    Command("swarm-remove", "cluster", "remove a node from the swarm for good", "nodes"),
    Command("swarm-rebalance", "cluster", "distribute the tasks over the nodes again", "nodes"),
    Command("swarm-history", "cluster", "show the releases: what changed, when, by whom", "swarm"),
    Command("swarm-rollback", "cluster", "deploy an earlier release again", "swarm"),
    Command("swarm-status", "cluster", "show nodes, services, tasks and problems", "status"),
    Command("swarm-logs", "cluster", "show the logs of services from all their tasks", "swarm"),
    Command("swarm-down", "cluster", "remove the stack; volumes are kept unless --volumes is given", "swarm"),
    Command("swarm-nfs-setup", "cluster", "put the stack's volumes on an NFS server", "nfs"),
    Command("stack", "cluster", "compile, render and validate stack files", "stack"),
    Command("lab", "lab", "start, show, break and remove a cluster of real engines on this machine", "lab"),
    Command("demo", "lab", "start the lab, deploy on it and verify the deployment", "lab"),
    Command("doctor", "operations", "find what is wrong with a cluster, or will be", "doctor"),
    Command("pki", "operations", "show, renew and replace certificates", "certificates"),
    Command("secrets", "operations", "show and rotate tokens, replace the CA", "secrets"),
    Command("backup", "operations", "save the deployment's data, and list what was saved", "backup"),
    Command("restore", "operations", "make a deployment again from a backup", "restore"),
    Command("migrate", "operations", "go from one machine to a swarm with all data, or back", "migrate"),
    Command("upgrade", "operations", "go to another release of openBalena, after a backup", "upgrade"),
    Command("storage", "operations", "show where volumes are, and move them between nodes", "storage"),
    Command("completion", "operations", "print a script by which bash, zsh or fish completes commands", "completion"),
    Command("version", "operations", "print the versions of this program and of what it uses", "version"),
)

# Commands that change neither the deployment nor its files. The lab keeps separate logs.
_READING = {"wait", "verify", "status", "logs", "lint", "showenv", "showpass", "self-signed", "version", "completion"}
_READING |= {"swarm-status", "swarm-history", "swarm-logs", "stack"}

# Commands and actions that change a cluster: each call is recorded there. Commands that change only this machine, such
# as its settings, are not.
CHANGING = {"swarm-init", "swarm-build", "swarm-up", "swarm-scale", "swarm-drain", "swarm-activate", "swarm-remove"}
CHANGING |= {"swarm-rebalance", "swarm-rollback", "swarm-down", "swarm-nfs-setup", "pki sync", "secrets rotate"}
CHANGING |= {"swarm-join", "storage move", "storage forget", "backup create", "backup prune", "restore", "migrate"}
CHANGING |= {"upgrade"}
# Those that do so only with one of these options; `config --from-cluster` copies all of its secrets.
CHANGING_WITH = {"doctor": ("dismiss", "fix"), "config": ("from_cluster",)}

BY_NAME = {name: command for command in COMMANDS for name in (command.name, *command.aliases)}

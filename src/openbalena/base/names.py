"""The names and labels of all that the commands put on an engine or a cluster; docs/state.md says what each is for.

Existing deployments have them: with another name here, a command would no longer find what an earlier one left there.
"""

from __future__ import annotations

import hashlib
import re

# Docker's own labels (docs.docker.com/reference/cli/docker/stack/deploy; compose, pkg/api/labels.go; swarmkit).
STACK_LABEL = "com.docker.stack.namespace"
STACK_LABELS = "com.docker.stack."
SWARM_SERVICE_LABEL = "com.docker.swarm.service.name"
SWARM_TASK_LABEL = "com.docker.swarm.task.id"
PROJECT_LABEL = "com.docker.compose.project"
COMPOSE_SERVICE_LABEL = "com.docker.compose.service"
COMPOSE_ONE_OFF_LABEL = "com.docker.compose.oneoff"
COMPOSE_VOLUME_LABEL = "com.docker.compose.volume"

# Labels of nodes; the name of the volume follows DATA_LABEL.
OUR_LABELS = "openbalena."
INGRESS_LABEL = "openbalena.ingress"
DATA_LABEL = "openbalena.data."

# Label of a service: the replicas that the definition last asked for.
REPLICAS_LABEL = "openbalena.replicas"
# Label of the services, networks and secrets of jobs.
JOB_LABEL = "openbalena.job"
# Label of a job's container on one machine: the Compose project that it is for.
JOB_OWNER_LABEL = "openbalena.job.of"
# Label of the containers that hold a volume: a leftover one would keep its volumes from being removed.
HOLDER_LABEL = "openbalena.volume-holder"
HOLDER_IMAGE = "openbalena/empty"

# Labels of the secret with the settings.
SETTINGS_CA_LABEL = "openbalena.settings.ca"
SETTINGS_TOKENS_LABEL = "openbalena.settings.tokens"
SETTINGS_LATER_LABEL = "openbalena.settings.later"
SETTINGS_OWNER_LABEL = "openbalena.settings.owner"
SETTINGS_ORDER_LABEL = "openbalena.settings.order"
SETTINGS_STACK_LABEL = "openbalena.settings.stack"
SETTINGS_NODE_LABEL = "openbalena.settings.node"
SETTINGS_IMAGE_LABEL = "openbalena.settings.image"

# Labels of the volume registry; the name of the volume follows the first two.
VOLUME_LABEL = "volume."
MOVE_LABEL = "move."
LOGIN_LABEL = "database.login"

# Labels of the config with what doctor remembers: an earlier reading of a disk; the node's id follows.
DISK_LABEL = "disk."

# Labels of the config of a release.
RELEASE_STACK_LABEL = "openbalena.release.stack"
RELEASE_NUMBER_LABEL = "openbalena.release.number"
RELEASE_LABEL = "openbalena.release."

LOCK_CONFIG = "openbalena-deploy-lock"
ENCRYPTION_NETWORK = "openbalena-encryption"
# Secrets of the jobs that check the external database and store: their credentials.
CHECK_SECRETS = ("openbalena-check-postgres", "openbalena-check-s3")
# Secrets of a job that changes roles of the database: the passwords, and the statements.
DATABASE_SECRETS = ("openbalena-database-passwords", "openbalena-database-statements")
# Secrets of the jobs of a backup: the repository's address and keys, the database's login, and the set's manifest.
BACKUP_SECRETS = ("openbalena-backup-repository", "openbalena-backup-login", "openbalena-backup-manifest")

# Roles of the database in the stack: the api logs in as one of them, in turn.
DATABASE_ROLES = ("openbalena_a", "openbalena_b")

# Files in volumes: this copy is not in use; which backup the volume is restored from; the tokens and certificates of
# these volumes have been adopted, and from then on `.env` takes precedence; what was migrated to or from these volumes;
# when the last copy of a volume began.
MOVE_MARK = ".openbalena-move"
RESTORE_MARK = ".openbalena-restore"
ADOPTED_MARK = ".open-balena"
MIGRATION_MARK = ".open-balena-migration"
COPY_MARK = ".openbalena-copied"

# The end of an object's name.
_HASHED = re.compile(r"-[0-9a-f]{12}$")


def data_label(volume: str) -> str:
    """The label of the node that has the data of `volume` (its name in the Compose file)."""
    return f"{DATA_LABEL}{volume}"


def full_name(owner: str, key: str) -> str:
    """Docker's name of the service, network or volume `key` of the stack or Compose project `owner`."""
    return f"{owner}_{key}"


def short_name(owner: str, name: str) -> str:
    """The key in the Compose file of what Docker calls `name`; `name` itself if it is not of `owner`."""
    return name.removeprefix(f"{owner}_")


def object_name(stack: str, key: str, content: bytes, template_driver: str = "") -> str:
    """The name in the swarm of the secret or config with this content: new content makes a new object."""
    return f"{stack}_{key}-{hashlib.sha256(content + template_driver.encode()).hexdigest()[:12]}"


def object_key(name: str, stack: str) -> str:
    """The key in the Compose file of the secret or config `name` of `stack`; empty if it has no `object_name`."""
    prefix = f"{stack}_"
    return _HASHED.sub("", name).removeprefix(prefix) if name.startswith(prefix) and _HASHED.search(name) else ""


def volume_registry(stack: str) -> str:
    """The config with the record of the stack's volumes: not an `object_name`, so no deploy removes it."""
    return f"openbalena-volumes-{stack}"


def release_config(stack: str, number: int) -> str:
    """The config with the record of a release: not an `object_name`, so no deploy removes it as an old version."""
    return f"openbalena-release-{stack}-{number}"


def doctor_config(stack: str) -> str:
    """The config whose labels are what doctor remembers: dismissed findings, and earlier readings of disks."""
    return f"openbalena-doctor-{stack}"


def audit_config(stack: str) -> str:
    """The config whose labels are the last commands that changed the cluster."""
    return f"openbalena-audit-{stack}"


def move_network(stack: str) -> str:
    """The network over which a move copies a volume."""
    return f"openbalena-move-{stack}"


def backup_network(stack: str) -> str:
    """The network over which the jobs of a backup reach a repository that is a directory of one node."""
    return f"openbalena-backup-{stack}"


def backup_unit(directory: str) -> str:
    """systemd's timer and service of the backups of the deployment in `directory`."""
    return f"openbalena-backup-{hashlib.sha256(directory.encode()).hexdigest()[:12]}"


def job_service(purpose: str, node: str) -> str:
    """The service of a job on the node with id `node`, which runs one of a purpose at a time."""
    return f"openbalena-{purpose}-{node[:12]}"


def nfs_check_file(node: str) -> str:
    """The file with which `node` tests the directories of an NFS export."""
    return f".openbalena-check-{node}"

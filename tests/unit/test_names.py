"""What existing deployments have on their nodes, engines and clusters: these names must never change."""

import pytest

from openbalena.base import names

GIVEN = {
    "STACK_LABEL": "com.docker.stack.namespace",
    "STACK_LABELS": "com.docker.stack.",
    "SWARM_SERVICE_LABEL": "com.docker.swarm.service.name",
    "SWARM_TASK_LABEL": "com.docker.swarm.task.id",
    "PROJECT_LABEL": "com.docker.compose.project",
    "COMPOSE_SERVICE_LABEL": "com.docker.compose.service",
    "COMPOSE_ONE_OFF_LABEL": "com.docker.compose.oneoff",
    "COMPOSE_VOLUME_LABEL": "com.docker.compose.volume",
    "OUR_LABELS": "openbalena.",
    "INGRESS_LABEL": "openbalena.ingress",
    "DATA_LABEL": "openbalena.data.",
    "REPLICAS_LABEL": "openbalena.replicas",
    "JOB_LABEL": "openbalena.job",
    "JOB_OWNER_LABEL": "openbalena.job.of",
    "HOLDER_LABEL": "openbalena.volume-holder",
    "HOLDER_IMAGE": "openbalena/empty",
    "SETTINGS_CA_LABEL": "openbalena.settings.ca",
    "SETTINGS_TOKENS_LABEL": "openbalena.settings.tokens",
    "SETTINGS_LATER_LABEL": "openbalena.settings.later",
    "SETTINGS_OWNER_LABEL": "openbalena.settings.owner",
    "SETTINGS_ORDER_LABEL": "openbalena.settings.order",
    "SETTINGS_STACK_LABEL": "openbalena.settings.stack",
    "SETTINGS_NODE_LABEL": "openbalena.settings.node",
    "SETTINGS_IMAGE_LABEL": "openbalena.settings.image",
    "RELEASE_STACK_LABEL": "openbalena.release.stack",
    "RELEASE_NUMBER_LABEL": "openbalena.release.number",
    "RELEASE_LABEL": "openbalena.release.",
    "VOLUME_LABEL": "volume.",
    "MOVE_LABEL": "move.",
    "DISK_LABEL": "disk.",
    "LOGIN_LABEL": "database.login",
    "LOCK_CONFIG": "openbalena-deploy-lock",
    "ENCRYPTION_NETWORK": "openbalena-encryption",
    "CHECK_SECRETS": ("openbalena-check-postgres", "openbalena-check-s3"),
    "DATABASE_SECRETS": ("openbalena-database-passwords", "openbalena-database-statements"),
    "BACKUP_SECRETS": ("openbalena-backup-repository", "openbalena-backup-login", "openbalena-backup-manifest"),
    "DATABASE_ROLES": ("openbalena_a", "openbalena_b"),
    "MOVE_MARK": ".openbalena-move",
    "RESTORE_MARK": ".openbalena-restore",
    "ADOPTED_MARK": ".open-balena",
    "MIGRATION_MARK": ".open-balena-migration",
    "COPY_MARK": ".openbalena-copied",
}


def test_names_and_labels_stay_as_they_are() -> None:
    assert {name: value for name, value in vars(names).items() if name.isupper() and name[0] != "_"} == GIVEN


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (names.data_label("db-data"), "openbalena.data.db-data"),
        (names.full_name("ob", "db-data"), "ob_db-data"),
        (names.short_name("ob", "ob_db-data"), "db-data"),
        (names.short_name("ob", "obx_db-data"), "obx_db-data"),
        # printf x | sha256sum; printf xgolang | sha256sum
        (names.object_name("ob", "api-env", b"x"), "ob_api-env-2d711642b726"),
        (names.object_name("ob", "api-env", b"x", "golang"), "ob_api-env-01dda15ba805"),
        (names.object_key("ob_api-env-2d711642b726", "ob"), "api-env"),
        (names.object_key("ob_api-env-2d711642b72", "ob"), ""),
        (names.object_key("other_api-env-2d711642b726", "ob"), ""),
        (names.volume_registry("ob"), "openbalena-volumes-ob"),
        (names.release_config("ob", 3), "openbalena-release-ob-3"),
        (names.doctor_config("ob"), "openbalena-doctor-ob"),
        (names.audit_config("ob"), "openbalena-audit-ob"),
        (names.move_network("ob"), "openbalena-move-ob"),
        (names.backup_network("ob"), "openbalena-backup-ob"),
        # printf /opt/ob | sha256sum
        (names.backup_unit("/opt/ob"), "openbalena-backup-ab2305ad628d"),
        (names.job_service("send", "abcdefghijklmnopqrstuvwxy"), "openbalena-send-abcdefghijkl"),
        (names.nfs_check_file("node1"), ".openbalena-check-node1"),
    ],
)
def test_names_with_parts_stay_as_they_are(made: str, expected: str) -> None:
    assert made == expected

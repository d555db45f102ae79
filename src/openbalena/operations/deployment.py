"""One deployment, from its files to a compiled stack: the one place that joins settings, secrets, compose and stack."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from openbalena import compose, settings, stack
from openbalena.base.project import Project
from openbalena.lab import kernel
from openbalena.pki import database_login, ocsp_records, store
from openbalena.storage import nfs


@dataclass(frozen=True)
class Deployment:
    """What a deployment is made of. `compiled` holds no secret; `settings.secrets` has the values."""

    project: Project
    settings: settings.Settings
    compose: compose.Project
    compiled: stack.Compiled


def load(project: Project, *, lab: bool, extra: Mapping[str, str] | None = None) -> Deployment:
    """Read and compile the deployment in `project`; nothing is written.

    `lab` adds the stand-in images' build contexts; `extra` are settings that win over `.env` and environment (content
    tags of built images, the swarm's address pool). Raises UsageError for settings, definitions or a PKI that are wrong
    or do not belong together, and if `config` has not run yet.
    """
    values = settings.read_configured(project, extra)
    # A manually set value (ROOT_CA of a custom chain) takes precedence over our PKI's.
    directory = Path(values["PKI_DIR"])
    public = {name: value for name, value in store.public_values(directory).items() if not values.get(name)}
    store.check_files(directory, values["DNS_TLD"])
    if values.get("ROOT_CA"):
        store.require_root_ca_contains_ours(directory, values["ROOT_CA"], values.sources["ROOT_CA"])
    public["VPN_OPENVPN_CA_CRT"] = store.vpn_authorities(directory, public.get("ROOT_CA") or values.get("ROOT_CA", ""))
    encrypted = lab_encryption(values, lab=lab)
    values = settings.read(project, {**public, **encrypted, **(extra or {})})
    if encrypted and "SWARM_ENCRYPTED" not in (extra or {}):
        values.warnings.append("in this lab SWARM_ENCRYPTED is false: this machine's kernel has no ESP (IPsec)")
    files = project.compose_files(lab=lab, mesh=values["INGRESS_MODE"] == "mesh")
    environment = {**values.interpolation(), **database_login.flat(values)}
    definitions = compose.load(files, environment=environment, profiles=values.profiles)
    compiled = _with_issued(stack.compile(definitions), directory)
    if values["SWARM_ENCRYPTED"] == "true":
        compiled = replace(compiled, document=stack.with_encryption(compiled.document))
    return Deployment(project, values, definitions, compiled)


def with_nfs(deployment: Deployment, volumes: Collection[str]) -> Deployment:
    """The deployment with these of its volumes on the NFS server."""
    if not volumes:
        return deployment
    document = nfs.with_nfs_volumes(deployment.compiled.document, deployment.settings, volumes)
    return replace(deployment, compiled=replace(deployment.compiled, document=document))


def _with_issued(compiled: stack.Compiled, directory: Path) -> stack.Compiled:
    """The stack with the rows for balena-ca's database that follow from the certificates in `directory`.

    The file has them, unless an earlier version made none or a command was killed before it wrote it.
    """
    if ocsp_records.is_current(directory):
        return compiled
    rows = ocsp_records.records_sql(directory).decode()
    configs = {
        key: replace(config, text=rows, source=None)
        if config.source == directory / ocsp_records.RECORDS_FILE
        else config
        for key, config in compiled.config_files.items()
    }
    return replace(compiled, config_files=configs)


def lab_encryption(values: settings.Settings, *, lab: bool) -> dict[str, str]:
    """SWARM_ENCRYPTED=false in a lab on a kernel without ESP, unless it was set: all its nodes have that kernel."""
    if not lab or "SWARM_ENCRYPTED" in values.sources:
        return {}
    return {} if kernel.has_esp() else {"SWARM_ENCRYPTED": "false"}

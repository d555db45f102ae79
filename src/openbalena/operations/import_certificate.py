"""Have HAProxy serve a custom certificate, or one of the deployment's own CA again; nothing that runs is touched."""

import os
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path

from openbalena import settings
from openbalena.base.errors import UsageError
from openbalena.base.files import write_atomic
from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.operations.reporter import Reporter
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.operations.workspace import Workspace
from openbalena.pki import custom_certificate, renew, store
from openbalena.pki.custom_certificate import ValidatedCertificate
from openbalena.settings import Settings, envfile

# Bytes: a chain of certificates is a few thousand, and /dev/zero does not end.
_MAX_BYTES = 2**20


@dataclass(frozen=True)
class ImportCertificateOptions:
    """PEM files; without any, HAPROXY_CRT, HAPROXY_KEY and ROOT_CA are used. `remove` restores the private CA's."""

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    remove: bool = False

    @property
    def files(self) -> tuple[Path | None, Path | None, Path | None]:
        """In the order of pki.OWN."""
        return self.certificate, self.key, self.ca


@dataclass(frozen=True)
class ImportCertificateResult:
    """`chain` is HAProxy's file. `custom` is whether it has the imported certificate now; `changed` whether it had not
    the private CA's before."""

    chain: Path
    custom: bool
    changed: bool = True


def import_certificate(
    options: ImportCertificateOptions, workspace: Workspace, reporter: Reporter
) -> ImportCertificateResult:
    """Put the certificate into `.env` and the PKI.

    Raises UsageError for one that does not fit, or if another setting takes precedence; nothing was changed then.
    """
    project = workspace.project
    values = settings.read_configured(project)
    if values.get("ACME_EMAIL"):
        raise UsageError(
            f"{values.sources['ACME_EMAIL']}: ACME_EMAIL is set, so cert-manager's certificate would replace it: unset "
            "it and the DNS provider's token first"
        )
    with exclusive_lock(project.directory):
        # A step of the CA's rotation that was interrupted would overwrite the imported certificate.
        renew.require(Path(values["PKI_DIR"]), values["DNS_TLD"])
        if options.remove:
            return _remove(options, project, values)
        return _import(options, project, values, reporter)


def _import(
    options: ImportCertificateOptions, project: Project, values: Settings, reporter: Reporter
) -> ImportCertificateResult:
    custom = _validate(options, project, values)
    pem = dict(zip(store.CUSTOM_CERTIFICATE_VARIABLES, (custom.certificate, custom.key, custom.authority), strict=True))
    encoded = {name: b64encode(content).decode() for name, content in pem.items()}
    if overridden := [name for name in encoded if os.environ.get(name, encoded[name]) != encoded[name]]:
        raise UsageError(f"environment variable {overridden[0]} differs from the file and takes precedence: unset it")
    file = dotenv.read_file(project.env_file)
    # An empty ROOT_CA need not be written if none is set.
    changes = {name: text for name, text in encoded.items() if file.values.get(name, "") != text}
    if changes:
        write_atomic(project.env_file.resolve(), envfile.update(file, changes), 0o600)
    directory = Path(values["PKI_DIR"])
    store.use_certificate(directory, custom.certificate, custom.key)
    for warning in custom.warnings:
        reporter.warn(warning)
    return ImportCertificateResult(directory / "chain.pem", custom=True)


def _validate(options: ImportCertificateOptions, project: Project, values: Settings) -> ValidatedCertificate:
    sources = options.files if any(options.files) else store.CUSTOM_CERTIFICATE_VARIABLES
    pem = _read_given(options, values)
    in_use = b64decode(dotenv.read_file(project.env_file).values.get("ROOT_CA", ""))
    names = tuple(map(str, sources))
    return custom_certificate.validate(
        *pem, values["DNS_TLD"], names, public=custom_certificate.public_roots(), in_use=in_use
    )


def _remove(options: ImportCertificateOptions, project: Project, values: Settings) -> ImportCertificateResult:
    if any(options.files):
        raise UsageError("--remove restores a certificate of the deployment's own CA: leave out the files")
    if overriding := [name for name in store.CUSTOM_CERTIFICATE_VARIABLES if os.environ.get(name)]:
        raise UsageError(f"environment variable {overriding[0]} takes precedence over .env: unset it")
    file = dotenv.read_file(project.env_file)
    before = file.text
    for name in store.CUSTOM_CERTIFICATE_VARIABLES:
        file.remove(name)
    if file.text != before:
        write_atomic(project.env_file.resolve(), file.text, 0o600)
    directory = Path(values["PKI_DIR"])
    changed = renew.restore_own_certificate(directory, values["DNS_TLD"])
    return ImportCertificateResult(directory / "chain.pem", custom=False, changed=changed)


def _read_given(options: ImportCertificateOptions, values: Settings) -> tuple[bytes, bytes, bytes]:
    """Certificate, key and CA as PEM: from the files, or from the variables if no file is named."""
    if any(options.files):
        if not (options.certificate and options.key):
            raise UsageError("--certificate and --key must be given together")
        authority = _read_pem(options.ca) if options.ca else b""
        return _read_pem(options.certificate), _read_pem(options.key), authority
    certificate, key, authority = store.custom_certificate(values)
    # The settings refuse one of the two without the other.
    if not certificate:
        raise UsageError("no certificate given: use --certificate and --key, or set HAPROXY_CRT and HAPROXY_KEY")
    return certificate, key, authority


def _read_pem(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:  # the shell's pipes as well: <(pass show key)
            content = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise UsageError(f"{path}: expected a PEM file of at most {_MAX_BYTES} bytes")
    return content

"""Write a deployment's `.env`, and make its tokens and certificates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from openbalena import settings
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.files import write_atomic
from openbalena.base.project import Project
from openbalena.machine import takeover
from openbalena.operations.engines import installed_engine
from openbalena.operations.reporter import Reporter
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.operations.workspace import Workspace
from openbalena.pki import store, tokens
from openbalena.settings.plan import SettingsPlan, display_value, plan

# From the answers that are given and the settings so far to all answers.
Ask = Callable[[Mapping[str, str], Mapping[str, str]], dict[str, str]]


@dataclass(frozen=True)
class ConfigureOptions:
    """`answers` are settings by variable. `ask` returns further ones; None asks for nothing.

    `unset` are settings that get their default again.
    """

    answers: Mapping[str, str] = field(default_factory=dict)
    ask: Ask | None = None
    unset: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConfigureResult:
    """`written` is False if `.env` already had everything. The adopted tokens (their names) and certificates are those
    of the volumes of the Compose project `compose_project`."""

    env_file: Path
    written: bool
    pki_directory: Path
    generated_tokens: tuple[str, ...]
    profiles: tuple[str, ...]
    compose_project: str
    adopted_tokens: tuple[str, ...]
    adopted_certificates: bool


@dataclass(frozen=True)
class _Prepared:
    """What will be written. `certificate` (with its key) is one that the user brings, in PEM, or empty."""

    plan: SettingsPlan
    pki_directory: Path
    dns_tld: str
    volumes: takeover.Found
    adopted_tokens: tuple[str, ...]
    generated_tokens: tuple[str, ...]
    certificate: bytes
    key: bytes


def configure(options: ConfigureOptions, workspace: Workspace, reporter: Reporter) -> ConfigureResult | None:
    """Write settings, then certificates: each is complete or absent, so that a rerun resumes an interrupted one.

    Returns None, with nothing written, if the user does not agree to the changes. Raises UsageError for settings,
    certificates or volumes that do not fit, and OperationError if the volumes or the files cannot be used.
    """
    project = workspace.project
    with exclusive_lock(project.directory):
        prepared = _prepare(options, workspace)
        if not _agreed(prepared.plan, reporter):
            return None
        adopted = _write(project, prepared)
    for warning in settings.read(project).warnings:
        reporter.warn(warning)
    return ConfigureResult(
        env_file=project.env_file,
        written=prepared.plan.text != prepared.plan.old_text,
        pki_directory=prepared.pki_directory,
        generated_tokens=prepared.generated_tokens,
        profiles=tuple(prepared.plan.profiles),
        compose_project=prepared.volumes.name,
        adopted_tokens=prepared.adopted_tokens,
        adopted_certificates=adopted,
    )


def add_missing_settings(workspace: Workspace, reporter: Reporter) -> ConfigureResult | None:
    """Write what `.env` lacks, as upstream's `make up` does. Returns None if it lacks nothing, or has no domain."""
    values = settings.read(workspace.project)
    if values.get("DNS_TLD") and tokens.missing_tokens(values):
        return configure(ConfigureOptions(), workspace, reporter)
    return None


def _prepare(options: ConfigureOptions, workspace: Workspace) -> _Prepared:
    project, answers = workspace.project, dict(options.answers)
    if reason := settings.put_aside(project):
        raise UsageError(reason)
    if options.ask:
        answers |= options.ask(answers, settings.read_unchecked(project))
    now = settings.read(project, {**answers, **dict.fromkeys(options.unset, "")})
    if not now.get("DNS_TLD"):
        raise UsageError(
            f"{project.env_file}: DNS_TLD is not set: run ./open-balena.sh config --dns-tld my.example.com (your "
            "domain), or set the environment variable DNS_TLD"
        )
    found = takeover.inspect_volumes(project, now, lambda: installed_engine(workspace.lab))
    adopted = {name: value for name, value in found.tokens.items() if not now.get(name)}
    generated = tokens.missing_tokens({**now, **adopted})
    planned = plan(project, answers, {**generated, **adopted}, options.unset)
    directory = Path(now["PKI_DIR"])
    store.check_files(directory, now["DNS_TLD"])
    certificate, key, authority = store.custom_certificate(now)
    if certificate:
        from openbalena.pki import custom_certificate  # it takes 0.1 s

        custom_certificate.validate(certificate, key, authority, now["DNS_TLD"])
    return _Prepared(planned, directory, now["DNS_TLD"], found, tuple(adopted), tuple(generated), certificate, key)


def _agreed(planned: SettingsPlan, reporter: Reporter) -> bool:
    # COMPOSE_PROFILES follows from the others: agreeing to those is agreeing to it.
    asked = {name: pair for name, pair in planned.changed.items() if name != "COMPOSE_PROFILES"}
    for name, (old, new) in asked.items():
        reporter.progress(f"{name}: {display_value(name, old)} -> {display_value(name, new) or '(empty)'}")
    return not asked or reporter.confirm("Change these settings?")


def _write(project: Project, prepared: _Prepared) -> bool:
    """Returns whether certificates of the volumes were adopted."""
    directory = prepared.pki_directory
    try:
        _write_env_file(project.env_file.resolve(), prepared.plan)
        adopt = bool(prepared.volumes.pki) and not (directory.exists() and any(directory.iterdir()))
        if adopt:
            takeover.adopt(directory, prepared.volumes.pki, prepared.dns_tld)
        store.ensure_files(directory, prepared.dns_tld)
        if prepared.certificate:
            store.use_certificate(directory, prepared.certificate, prepared.key)
    except OSError as error:
        raise OperationError(
            f"{error.filename or project.directory}: cannot be written: {error.strerror}: fix this and rerun config, "
            "which will resume"
        ) from None
    return adopt


def _write_env_file(path: Path, planned: SettingsPlan) -> None:
    if planned.text != planned.old_text:
        write_atomic(path, planned.text, 0o600)
    path.chmod(0o600)

"""Compiles a Compose project to a stack: applies the rules to every service and copies the other sections."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.base.names import data_label
from openbalena.compose.project import Project
from openbalena.compose.tree import Map, Position, plain
from openbalena.stack import uninterpolated
from openbalena.stack.checks import check_content, check_service
from openbalena.stack.content import (
    ContentFile,
    described,
    entry,
    one_origin,
    own_variable,
    secret_env,
    taken_variables,
)
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.docker_stack_schema import compiled_findings
from openbalena.stack.engine_checks import check_network, written_twice
from openbalena.stack.nodes import mount_diagnostics
from openbalena.stack.overlay import SwarmExtensions, drop_keys, overlay
from openbalena.stack.port_conflicts import port_conflicts, ports_on_host_network
from openbalena.stack.rules import RULES
from openbalena.stack.rules.deploy import add_constraint
from openbalena.stack.rules.irrelevant import DEPENDS_ON
from openbalena.stack.service import Service
from openbalena.stack.top_level import network, volume


@dataclass(frozen=True)
class Compiled:
    """A stack. It contains no secrets: their values are placeholders.

    `document` is the stack file; `secret_files` and `config_files` are its secrets and configs, by key; `node_labels`
    are the labels (without `node.labels.`) and values that placement requires; `builds` are the build sections of its
    services; `stateful` maps a volume to the service that is pinned to it. `interpolated` is false if `${…}` was kept.
    `refused` are the errors for values of the document that `docker stack` refuses.
    """

    name: str
    document: Mapping[str, Any]
    secret_files: Mapping[str, ContentFile] = field(default_factory=dict)
    config_files: Mapping[str, ContentFile] = field(default_factory=dict)
    node_labels: Mapping[str, str] = field(default_factory=dict)
    builds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stateful: Mapping[str, str] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()
    refused: tuple[Diagnostic, ...] = ()
    interpolated: bool = True

    @property
    def content_files(self) -> tuple[ContentFile, ...]:
        """Secrets, then configs."""
        return (*self.secret_files.values(), *self.config_files.values())


def compile(project: Project) -> Compiled:  # noqa: A001 - the contract's word
    """`project` as a stack. Raises UsageError, with all errors, if Swarm does not support what it needs, and if no
    service is enabled.
    """
    compiled = analyse(project)
    if not compiled.document["services"]:
        raise without_services(project)
    found = (*compiled.diagnostics, *compiled.refused)
    errors = [str(item) for item in found if item.severity is Severity.ERROR]
    if errors:
        raise UsageError("\n".join(errors))
    return compiled


def without_services(project: Project) -> UsageError:
    """The error for a stack that would, deployed with --prune, remove every service."""
    services: Map = project.tree.get("services") or Map()
    place = project.tree.at("services")
    if not services:
        return UsageError("the project has no services", "write at least one below services:", where=place)
    profiles = dict.fromkeys(str(name) for service in services.values() for name in service.get("profiles") or ())
    hint = f"enable a profile: --profile {' or --profile '.join(profiles)}"
    return UsageError("no service is enabled", hint, where=place)


def analyse(project: Project, *, refusals: bool = True) -> Compiled:
    """As `compile`, but errors are in the diagnostics, and the keys that they are about are not in the document.

    Without `refusals`, values that docker refuses are not looked for.
    """
    swarm, extensions = overlay(project)
    model = swarm.model
    compilation = _Compilation(swarm, model, refusals)
    for name, service in model["services"].items():
        compilation.service(name, service, extensions.get(name, SwarmExtensions(service.position)))
    return compilation.finish()


_KEYS = ("image", "command", "entrypoint", "user", "hostname", "environment", "secrets", "configs", "volumes",
         "networks", "ports", "cap_add", "healthcheck", "deploy")  # fmt: skip
_ORDER = {key: index for index, key in enumerate(_KEYS)}


class _Compilation:
    def __init__(self, project: Project, model: Map, refusals: bool) -> None:
        self.project = project
        self.refusals = refusals
        self.model = model
        self.services = Map(position=model.at("services"))
        self.files: dict[str, dict[str, ContentFile]] = {"secrets": {}, "configs": {}}
        self.builds: dict[str, Any] = {}
        self.stateful: dict[str, str] = {}
        self.diagnostics: list[Diagnostic] = []
        self.refused: list[Diagnostic] = []

    def service(self, name: str, source: Map, extensions: SwarmExtensions) -> None:
        """Apply the rules to one service."""
        source, notes = drop_keys(source, extensions.without)
        self.diagnostics += notes
        if extensions.secret_env is not None:
            source, content = secret_env(source, name, extensions, self.project.name, self.project.interpolated)
            self._require_new(content)
            self.files["secrets"][content.key] = content
        position: Position = self.model["services"].at(name)
        service = Service(name, source, self.project.name, position, Map(position=position))
        service.interpolated = self.project.interpolated
        for key, rule in RULES.items():
            if key in source and source[key] is not None:
                rule.apply(service, source[key])
        for volume_name, place in extensions.stateful.located():
            self._pin(service, str(volume_name), place)
        check_service(service)
        if not self.project.interpolated:
            uninterpolated.check_expressions(service.target)
        self.diagnostics += service.diagnostics
        self.diagnostics += written_twice(self.project.tree["services"][name], Severity.WARNING)
        if self.refusals:
            self.refused += compiled_findings("services", service.target, not self.project.interpolated)
        if service.build is not None:
            self.builds[name] = plain(service.build)
        ordered = sorted(service.target.items(), key=lambda item: _ORDER.get(item[0], len(_ORDER)))
        self.services.put(name, Map(ordered, position), position)

    def _require_new(self, content: ContentFile) -> None:
        """Raise UsageError if the project has a secret with the key or the file that x-swarm.secret_env makes."""
        declared = self.model.get("secrets") or Map()
        for key in (content.key, content.path.partition("/")[2]):
            if key in declared:
                clash = f"x-swarm.secret_env creates a secret {content.key} in the file {content.path}"
                raise UsageError(f"secrets.{key}: {clash}", "choose another name for this one", where=declared.at(key))

    def _pin(self, service: Service, name: str, place: Position) -> None:
        mounts = service.target.get("volumes", ())
        if not any(mount["type"] == "volume" and mount.get("source") == name for mount in mounts):
            raise UsageError(f"x-swarm.stateful names {name}, which the service does not mount", where=place)
        add_constraint(service, f"node.labels.{data_label(name)} == true", "x-swarm")
        deploy = service.target.get("deploy", {})
        if deploy.get("mode") == "global" or deploy.get("replicas", 1) != 1:
            key, one = ("mode", "replicated") if deploy.get("mode") == "global" else ("replicas", "1")
            message = f"two tasks of {service.name} would write to the same volume"
            service.error("stateful", message, f"write deploy.{key}: {one}", deploy.at(key))
        if deploy.get("update_config", {}).get("order", "stop-first") != "stop-first":
            service.error(
                "stateful", "the new task would start while the old one still writes", "order: stop-first", place
            )
        self.stateful[name] = service.name

    def finish(self) -> Compiled:
        """Add the top-level sections and return the stack."""
        every_profile = "*" in self.project.profiles
        self.diagnostics += port_conflicts(self.services, self.model["services"], every_profile)
        declared = self.model.get("networks") or Map()
        self.diagnostics += ports_on_host_network(self.services, self.model["services"], declared)
        document: dict[str, Any] = {"services": plain(self.services)}
        for section, convert in (("networks", network), ("volumes", volume)):
            converted = {
                name: plain(self._checked(section, name, convert(name, value, self.diagnostics)))
                for name, value in self._used(section).items()
            }
            if converted.get("default") == {} and section == "networks":
                del converted["default"]
            if converted:
                document[section] = converted
        document |= self._contents(document)
        self.diagnostics += mount_diagnostics(self.services, self.model.get("volumes") or Map())
        return Compiled(
            name=self.project.name,
            document=document,
            secret_files=self.files["secrets"],
            config_files=self.files["configs"],
            node_labels=node_labels(document["services"]),
            builds=self.builds,
            stateful=self.stateful,
            diagnostics=tuple(_once(self.diagnostics)),
            refused=tuple(_once(self.refused)),
            interpolated=self.project.interpolated,
        )

    def _users(self, section: str) -> dict[str, list[str]]:
        """Which services use each resource of `section`, in the stack as compiled."""
        users: dict[str, list[str]] = {}
        for name, service in self.services.items():
            used = service.get(section, ())
            if section == "networks":
                names = list(used or ["default"])
            elif section == "volumes":
                names = [mount["source"] for mount in used if mount["type"] == "volume" and "source" in mount]
            else:
                names = [reference["source"] for reference in used]
            for resource in dict.fromkeys(names):
                users.setdefault(resource, []).append(name)
        return users

    def _used(self, section: str) -> Map:
        declared = self.model.get(section) or Map()
        users = self._users(section)
        return Map(((name, value) for name, value in declared.items() if name in users), declared.position)

    def _checked(self, section: str, name: str, item: Map) -> Map:
        """The compiled `item` of a section; a diagnostic is added for each value that Docker refuses."""
        if self.refusals:
            self.refused += compiled_findings(section, item, not self.project.interpolated)
        if section == "networks":
            self.diagnostics += check_network(name, item)
        return item

    def _contents(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The secrets and configs of the stack, of which `document` has the other sections."""
        users = {section: self._users(section) for section in ("secrets", "configs")}
        declared = [self.model.get(section) for section in users]
        taken = taken_variables(document, *declared) if any(users.values()) else set()
        return {section: self._content(section, of, taken) for section, of in users.items() if of}

    def _content(self, section: str, of: Mapping[str, list[str]], taken: Collection[str]) -> dict[str, Any]:
        files, declared = self.files[section], self.model.get(section) or Map()
        entries: dict[str, Any] = {}
        for key, users in sorted(of.items()):
            written = one_origin(section[:-1], key, declared.get(key, Map()), self.diagnostics)
            if written.get("external") or "driver" in written:
                entries[key] = plain(self._checked(section, key, written))
                continue
            if key not in files:
                files[key] = described(section[:-1], key, written, self.project.name, self.project.environment)
            files[key] = replace(own_variable(files[key], of, taken), services=tuple(users))
            self.diagnostics += check_content(files[key], declared.at(key), interpolated=self.project.interpolated)
            entries[key] = plain(self._checked(section, key, entry(files[key], written)))
        return entries


def _once(diagnostics: list[Diagnostic]) -> Iterator[Diagnostic]:
    """Each diagnostic once (services can share an anchor's position), and depends_on once for the whole project."""
    seen: set[Any] = set()
    for diagnostic in diagnostics:
        identity = "depends_on" if diagnostic.meaning == DEPENDS_ON else diagnostic
        if identity not in seen:
            seen.add(identity)
            yield diagnostic


def node_labels(services: Mapping[str, Any]) -> dict[str, str]:
    """The labels that placement requires, without `node.labels.`, each with its value."""
    labels = {}
    for service in services.values():
        for constraint in service.get("deploy", {}).get("placement", {}).get("constraints", ()):
            name, operator, value = constraint.partition("==")
            if operator and name.strip().startswith("node.labels."):
                labels[name.strip().removeprefix("node.labels.")] = value.strip()
    return labels

"""Check settings, certificates and service definitions, for this machine and for a cluster; needs no engine."""

from dataclasses import dataclass
from pathlib import Path

from openbalena.base.errors import UsageError
from openbalena.operations import deployment
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.stack import Severity
from openbalena.stack.validate import validate


@dataclass(frozen=True)
class LintResult:
    """What was checked: the settings and their `profiles`, the Compose `definitions` with their number of `services`,
    and the checkout's compiled `stack_files`."""

    env_file: Path
    profiles: tuple[str, ...]
    definitions: tuple[Path, ...]
    services: int
    stack_files: tuple[Path, ...]


def lint(workspace: Workspace, reporter: Reporter) -> LintResult:
    """Raises UsageError with file and line of what is wrong."""
    project = workspace.project
    checked = deployment.load(project, lab=workspace.lab)
    for warning in checked.settings.warnings:
        reporter.warn(warning)
    for found in checked.compiled.diagnostics:
        if found.severity is Severity.WARNING:
            reporter.warn(str(found))
    stack_files = sorted(project.root.glob("docker-stack*.yml*"))
    if wrong := [str(found) for found in validate(stack_files) if found.severity is Severity.ERROR]:
        raise UsageError("\n".join(["problems in the checkout's files:", *wrong]))
    return LintResult(
        env_file=project.env_file,
        profiles=tuple(checked.settings.profiles),
        definitions=tuple(checked.compose.files),
        services=len(checked.compiled.document["services"]),
        stack_files=tuple(stack_files),
    )

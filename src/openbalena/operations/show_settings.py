"""The settings in force, and the superuser's password."""

from collections.abc import Sequence

from openbalena import settings
from openbalena.base.errors import UsageError
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.settings.values import MASK
from openbalena.settings.variables import variables


def settings_in_force(workspace: Workspace, reporter: Reporter, *, reveal: bool) -> dict[str, str]:
    """Each setting that has a value, in the order of variables.yml, then unknown ones; secrets masked unless told."""
    described = variables()
    values = settings.read(workspace.project)
    for warning in values.warnings:
        reporter.warn(warning)
    # An unknown variable may be one of the user's own secrets.
    hidden = set() if reveal else {name for name in values if name not in described or described[name].secret}
    order = {name: position for position, name in enumerate(described)}
    names = sorted((name for name in values if values[name]), key=lambda name: (order.get(name, len(order)), name))
    return {name: MASK if name in hidden else values[name] for name in names}


def settings_warnings(workspace: Workspace) -> Sequence[str]:
    """What should be known of the settings, as far as they can be read."""
    for read in (settings.read, settings.read_unchecked):
        try:
            return read(workspace.project).warnings
        except UsageError:
            continue  # the command itself has reported what is wrong with the file
    return ()


def superuser_password(workspace: Workspace) -> str:
    """Raises UsageError if `config` has not run."""
    values = settings.read(workspace.project)
    if values.get("SUPERUSER_PASSWORD"):
        return values["SUPERUSER_PASSWORD"]
    missing = f"{workspace.project.env_file}: SUPERUSER_PASSWORD is not set: run ./open-balena.sh config"
    raise UsageError(settings.put_aside(workspace.project) or missing)

"""What Compose requires of a whole project before it starts it; Swarm starts services in no particular order."""

from openbalena.base.errors import UsageError
from openbalena.compose.project import Project
from openbalena.compose.tree import Map


def check_consistency(project: Project) -> None:
    """Raise UsageError for a service without image and build, and for a missing or circular dependency."""
    services = project.services
    for name, service in services.items():
        if not {"image", "build", "provider"} & set(service):
            raise UsageError(f"{name} needs an image or a build context", where=services.at(name))
        for other, condition in (service.get("depends_on") or {}).items():
            if other not in services and condition.get("required", True):
                place = service["depends_on"].at(other)
                raise UsageError(f"{name} depends on {other}, which is not an enabled service", where=place)
    finished: set[str] = set()
    for name in services:
        _visit(services, name, finished)


def _visit(services: Map, start: str, finished: set[str]) -> None:
    """Depth first, with an explicit stack instead of recursion: dependency chains can be long."""
    pending = [(start, iter(services[start].get("depends_on") or ()))]
    while pending:
        name, following = pending[-1]
        path = [step for step, _ in pending]
        for other in following:
            if other in path:
                chain = " → ".join([*path[path.index(other) :], other])
                raise UsageError(f"circular dependency of services: {chain}", where=services.at(other))
            if other in services and other not in finished:
                pending.append((other, iter(services[other].get("depends_on") or ())))
                break
        else:
            finished.add(name)
            pending.pop()

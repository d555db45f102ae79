"""The state behind the fake engine: a swarm's nodes, services, tasks, secrets, configs and networks, and its clock.

It does what swarmkit does as far as commands notice: it counts versions, starts and stops tasks, places them by their
constraints. How a task ends is a scenario's: `fates` has a table of states for the tasks of a service.
"""

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

_BEGIN = datetime(2026, 11, 23, 10, tzinfo=UTC)
_ENDED = {"complete", "failed", "rejected", "shutdown", "orphaned"}
_UNPLACED = "no suitable node (scheduling constraints not satisfied on {} nodes)"


class RefusedError(Exception):
    """What the engine answers instead: a status and the words of its message."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Clock:
    """The time that code sees in place of the module `time`: it stands still unless somebody sleeps.

    `stride` is the least number of seconds that a sleep takes, so that a long wait needs few looks.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.stride = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """No real time."""
        self.now += max(seconds, self.stride)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@dataclass(frozen=True)
class Row:
    """From `after` seconds of a task's life on it is in `state`."""

    after: float
    state: str
    error: str = ""
    exit_code: int = 0


@dataclass
class FakeSwarm:
    """`fates` are rows for tasks of the services whose name begins with the key: for the first task, the next, … the
    last ones for all that follow. Without one a task runs at once, and one that is not restarted completes.

    `logs` are a task's lines, or what makes them of its service's spec, by the beginning of that service's name;
    `refusals` what the next request of that method and path (its beginning) is refused with. `asked` are the requests
    that change something, in order, `created` the specs of all services that were ever created. `stopping` is for how
    many seconds the tasks of a removed service are still there, `demotion` for how many a demoted manager still has
    its vote. `asked_for` is what the swarm was made with.
    """

    clock: Clock = field(default_factory=Clock)
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    fates: dict[str, list[list[Row]]] = field(default_factory=dict)
    logs: dict[str, list[str] | Callable[[dict[str, Any]], list[str]]] = field(default_factory=dict)
    refusals: list[tuple[str, str, RefusedError]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    created: list[dict[str, Any]] = field(default_factory=list)
    stopping: float = 0.0
    asked_for: dict[str, Any] = field(default_factory=dict)
    demotion: float = 0.0
    task_labels: dict[str, dict[str, str]] = field(default_factory=dict)
    # So that the first versions sort otherwise as numbers than as texts.
    _index: int = 8
    _gone: dict[str, float] = field(default_factory=dict)
    _demoted: dict[str, float] = field(default_factory=dict)
    _rows: dict[str, tuple[float, list[Row]]] = field(default_factory=dict)

    def identifier(self) -> str:
        """A new id, as swarmkit's: 25 letters and digits."""
        self._index += 1
        return f"{self._index:025d}"

    def stamp(self, kind: dict[str, Any]) -> dict[str, Any]:
        """The object with a new version, and the time of its change."""
        self._index += 1
        kind["Version"] = {"Index": self._index}
        kind["UpdatedAt"] = self.time()
        kind.setdefault("CreatedAt", kind["UpdatedAt"])
        return kind

    def time(self) -> str:
        """The Engine's form of the clock, one nanosecond apart for each change."""
        moment = _BEGIN + timedelta(seconds=self.clock.now)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}{self._index % 1000:03d}Z"

    def node(self, name: str, role: str = "worker", **labels: str) -> dict[str, Any]:
        """Add a node, whose id is `id-` and its name, so that messages can be read."""
        manager: dict[str, Any] = {"Reachability": "reachable", "Addr": f"10.9.0.{len(self.nodes) + 1}:2377"}
        if not self.nodes:
            manager["Leader"] = True
        made = self.stamp({
            "ID": f"id-{name}",
            "Spec": {"Labels": dict(labels), "Role": role, "Availability": "active"},
            "Description": {
                "Hostname": name,
                "Platform": {"Architecture": "x86_64", "OS": "linux"},
                "Resources": {"NanoCPUs": 2_000_000_000, "MemoryBytes": 4 << 30},
                "Engine": {"EngineVersion": "28.5.2"},
            },
            "Status": {"State": "ready", "Addr": f"10.9.0.{len(self.nodes) + 1}"},
            **({"ManagerStatus": manager} if role == "manager" else {}),
        })  # fmt: skip
        self.nodes[made["ID"]] = made
        return made

    def refuse(self, method: str, path: str) -> None:
        """Raise what `refusals` has for this request; each entry serves once."""
        for entry in self.refusals:
            if entry[0] == method and path.startswith(entry[1]):
                self.refusals.remove(entry)
                raise entry[2]

    def __post_init__(self) -> None:
        for name in ("host", "bridge", "none"):
            self.networks[name] = {"Name": name, "Id": name, "Driver": name, "Scope": "local", "Labels": {}}

    def cluster(self) -> dict[str, Any]:
        """What a manager says of the swarm as a whole."""
        pools = self.asked_for.get("DefaultAddrPool") or ["10.0.0.0/8"]
        port = self.asked_for.get("DataPathPort") or 4789
        return {"ID": "the-swarm", "DefaultAddrPool": pools, "SubnetSize": 24, "DataPathPort": port}

    def create_network(self, asked: dict[str, Any]) -> str:
        """Add a network; raises RefusedError where its name is taken."""
        if any(item["Name"] == asked["Name"] for item in self.networks.values()):
            raise RefusedError(409, f"network with name {asked['Name']} already exists")
        made = {"Id": self.identifier(), "Created": self.time(), "Scope": "swarm", "Attachable": False, **asked}
        made |= {"Labels": asked.get("Labels") or {}, "Options": asked.get("Options") or {}}
        made |= {"Ingress": False, "Internal": False, "EnableIPv4": True, "EnableIPv6": False, "Containers": None}
        made.pop("CheckDuplicate", None)
        self.networks[made["Id"]] = made
        return str(made["Id"])

    def log(self, kind: str, name: str) -> list[str]:
        """What a task printed; of a service, what all of its tasks did."""
        service = self.services[self.named(kind, name)["ServiceID"]] if kind == "tasks" else self.named(kind, name)
        called = service["Spec"]["Name"]
        lines = next((lines for key, lines in self.logs.items() if called.startswith(key)), [])
        return lines(service["Spec"]) if callable(lines) else lines

    def named(self, kind: str, name: str) -> dict[str, Any]:
        """The object with this id, name or beginning of an id; raises RefusedError where there is none."""
        listed: dict[str, dict[str, Any]] = getattr(self, kind)
        if name in listed:
            return listed[name]
        for item in listed.values():
            if name_of(item) == name:
                return item
        return next((item for key, item in listed.items() if key.startswith(name)), None) or self._none(kind, name)

    def _none(self, kind: str, name: str) -> dict[str, Any]:
        raise RefusedError(404, f"{kind[:-1]} {name} not found")

    def create(self, kind: str, spec: dict[str, Any]) -> str:
        """Add a secret, config or service; raises RefusedError where its name is taken."""
        listed: dict[str, dict[str, Any]] = getattr(self, kind)
        if any(item["Spec"]["Name"] == spec["Name"] for item in listed.values()):
            raise RefusedError(409, f"rpc error: code = AlreadyExists desc = {_taken(kind, spec['Name'])}")
        if kind in ("secrets", "configs") and not spec.get("Data"):
            most = 512000 if kind == "secrets" else 1024000
            size = f"larger than 0 and less than {most} bytes"
            raise RefusedError(400, f"rpc error: code = InvalidArgument desc = {kind[:-1]} data must be {size}")
        if kind == "secrets":
            spec = {key: value for key, value in spec.items() if key != "Data"}
        made = self.stamp({"ID": self.identifier(), "Spec": {"Labels": {}, **_completed(kind, spec)}})
        listed[made["ID"]] = made
        if kind == "services":
            self.created.append(deepcopy(made["Spec"]))
            self._expose(made)
            self.reconcile(made)
        return str(made["ID"])

    def update(self, kind: str, name: str, version: int, spec: dict[str, Any]) -> None:
        """Replace the spec; raises RefusedError where `version` is not the newest."""
        item = self.named(kind, name)
        if version != item["Version"]["Index"]:
            raise RefusedError(500, "rpc error: code = Unknown desc = update out of sequence")
        before = item["Spec"]
        if kind == "secrets":
            spec = {key: value for key, value in spec.items() if key != "Data"}
        item["Spec"] = _completed(kind, spec)
        self.stamp(item)
        if kind == "nodes" and spec["Role"] == "worker" and "ManagerStatus" in item:
            self._demoted[item["ID"]] = self.clock.now + self.demotion
            self.advance()
        if kind == "services":
            item["PreviousSpec"] = before
            self._expose(item)
            self.reconcile(item)

    def roll_back(self, name: str) -> None:
        """Take the service's spec before its last update again."""
        item = self.named("services", name)
        item["Spec"] = item.pop("PreviousSpec")
        item["UpdateStatus"] = {"State": "rollback_completed"}
        self.stamp(item)
        self.reconcile(item)

    def remove(self, kind: str, name: str) -> None:
        """Remove an object; raises RefusedError where it is not there, or a service uses it."""
        item = self.named(kind, name)
        word = kind[:-1].capitalize()
        users = [s["Spec"]["Name"] for s in self.services.values() if item.get("ID") in _used(s, word)]
        if kind in ("secrets", "configs") and users:
            verb = f"{kind[:-1]} '{item['Spec']['Name']}' is in use by the following service: {', '.join(users)}"
            raise RefusedError(400, f"rpc error: code = InvalidArgument desc = {verb}")
        if kind == "nodes":
            _require_removable(item)
        del getattr(self, kind)[item.get("ID") or item["Id"]]
        if kind == "services":
            for task in [task for task in self.tasks.values() if task["ServiceID"] == item["ID"]]:
                task["DesiredState"] = "remove"
                self._gone[task["ID"]] = self.clock.now + self.stopping
            self.advance()

    def reconcile(self, service: dict[str, Any]) -> None:
        """Start and stop tasks until they are those of the service's spec."""
        spec = service["Spec"]
        for slot, node in self._places(spec):
            now = [t for t in self._wanted(service) if (t.get("Slot", 0), t.get("NodeID") if not slot else "") ==
                   (slot, node if not slot else "")]  # fmt: skip
            if now and _same(now[-1]["Spec"], spec["TaskTemplate"]):
                continue
            for task in now:
                self._stop(task)
            self._start(service, slot, node)
        if "Replicated" in spec.get("Mode", {}):
            for task in self._wanted(service):
                if task["Slot"] > spec["Mode"]["Replicated"]["Replicas"]:
                    del self.tasks[task["ID"]]

    def _places(self, spec: dict[str, Any]) -> Iterator[tuple[int, str]]:
        fitting = [node["ID"] for node in self.nodes.values() if _fits(node, spec["TaskTemplate"])]
        if "Global" in spec.get("Mode", {}):
            yield from ((0, node) for node in fitting)
            return
        # The tasks of jobs are not kept here.
        for slot in range(1, spec["Mode"].get("Replicated", {"Replicas": 0})["Replicas"] + 1):
            yield slot, fitting[(slot - 1) % len(fitting)] if fitting else ""

    def _wanted(self, service: dict[str, Any]) -> list[dict[str, Any]]:
        return [t for t in self.tasks.values() if t["ServiceID"] == service["ID"] and t["DesiredState"] == "running"]

    def _stop(self, task: dict[str, Any]) -> None:
        task["DesiredState"] = "shutdown"
        if task["Status"]["State"] not in _ENDED:
            task["Status"] = {**task["Status"], "State": "shutdown", "Timestamp": self.time()}
        self._rows.pop(task["ID"], None)

    def _start(self, service: dict[str, Any], slot: int, node: str) -> None:
        spec = service["Spec"]
        before = sum(task["ServiceID"] == service["ID"] for task in self.tasks.values())
        fates = next((rows for key, rows in self.fates.items() if spec["Name"].startswith(key)), [])
        once = (spec["TaskTemplate"].get("RestartPolicy") or {}).get("Condition") == "none"
        rows = fates[min(before, len(fates) - 1)] if fates else [Row(0, "complete" if once else "running")]
        task = self.stamp({
            "ID": self.identifier(),
            "ServiceID": service["ID"],
            "Labels": {},
            "Spec": {key: deepcopy(value) for key, value in spec["TaskTemplate"].items() if key != "Runtime"},
            "DesiredState": "running",
            "Status": {"State": "pending", "Timestamp": self.time(), "Message": "", "PortStatus": {}},
            "Volumes": None,
        })  # fmt: skip
        if slot:
            task["Slot"] = slot
        if node:
            task["NodeID"] = node
            self._rows[task["ID"]] = (self.clock.now, rows)
        else:
            task["Status"]["Err"] = _UNPLACED.format(len(self.nodes))
        self.tasks[task["ID"]] = task
        self.task_labels[task["ID"]] = spec["Labels"]
        self.advance()

    def advance(self) -> None:
        """Bring every task to where it is now."""
        for task_id in [task_id for task_id, end in self._gone.items() if end <= self.clock.now]:
            self.tasks.pop(task_id, None)
            del self._gone[task_id]
        for node_id in [node_id for node_id, end in self._demoted.items() if end <= self.clock.now]:
            self.nodes.get(node_id, {}).pop("ManagerStatus", None)
            del self._demoted[node_id]
        for task_id, (began, rows) in list(self._rows.items()):
            if task_id not in self.tasks:
                del self._rows[task_id]
                continue
            task = self.tasks[task_id]
            row = [row for row in rows if row.after <= self.clock.now - began][-1]
            if (task["Status"]["State"], task["Status"].get("Err", "")) == (row.state, row.error):
                continue
            task["Status"] = {
                "Timestamp": self.time(),
                "State": row.state,
                **({"Err": row.error} if row.error else {}),
                "Message": row.state,
                "PortStatus": {},
                "ContainerStatus": {"ContainerID": task_id, "PID": 1, "ExitCode": row.exit_code},
            }
            condition = (task["Spec"].get("RestartPolicy") or {}).get("Condition", "any")
            if row.state in _ENDED and condition != "none" and task["DesiredState"] == "running":
                service = self.services[task["ServiceID"]]
                task["DesiredState"] = "shutdown"
                self._start(service, task.get("Slot", 0), task.get("NodeID", ""))

    def _expose(self, service: dict[str, Any]) -> None:
        ports = (service["Spec"].get("EndpointSpec") or {}).get("Ports") or []
        ports = [{"Protocol": "tcp", "PublishMode": "ingress", **port} for port in ports]
        described = service["Spec"].get("EndpointSpec") or {}
        service["Endpoint"] = {"Spec": described, **({"Ports": ports} if ports else {})}


def listed(swarm: FakeSwarm, kind: str, filters: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of a kind that pass `filters`; names match by their beginning, as swarmkit's do."""
    found = list(getattr(swarm, kind).values())
    for what, asked in filters.items():
        wanted = list(asked)
        if what == "label":
            found = [item for item in found if all(_labelled(swarm, kind, item, label) for label in wanted)]
        elif what == "name":
            found = [item for item in found if any(name_of(item).startswith(name) for name in wanted)]
        elif what == "id":
            found = [item for item in found if any(item["ID"].startswith(each) for each in wanted)]
        elif what == "service":
            ids = {swarm.named("services", name)["ID"] for name in wanted}
            found = [item for item in found if item["ServiceID"] in ids]
        elif what == "desired-state":
            found = [item for item in found if item["DesiredState"] in wanted]
        elif what == "_up-to-date":
            specs = {key: service["Spec"]["TaskTemplate"] for key, service in swarm.services.items()}
            found = [item for item in found if _same(item["Spec"], specs[item["ServiceID"]])]
        elif what == "scope":
            found = [item for item in found if item["Scope"] in wanted]
        elif what not in ("is-task", "driver", "type"):
            raise RefusedError(400, f"invalid filter '{what}'")
    return found


def _labelled(swarm: FakeSwarm, kind: str, item: dict[str, Any], label: str) -> bool:
    """A task has its service's labels (swarmkit, ServiceAnnotations)."""
    if kind == "tasks":
        labels = swarm.task_labels[item["ID"]]
    else:
        labels = (item if kind == "networks" else item["Spec"]).get("Labels") or {}
    name, separator, value = label.partition("=")
    return name in labels and (not separator or labels[name] == value)


def name_of(item: dict[str, Any]) -> str:
    """The name of an object of any kind; a task has none."""
    if "Description" in item:
        return str(item["Description"]["Hostname"])
    return str(item.get("Name") or item.get("Spec", {}).get("Name", ""))


def _require_removable(node: dict[str, Any]) -> None:
    """Raise RefusedError as swarmkit does (manager/controlapi/node.go, RemoveNode)."""
    reason = ""
    if "ManagerStatus" in node:
        reason = "a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal"
    elif node["Status"]["State"] != "down":
        reason = "not down and can't be removed"
    if reason:
        raise RefusedError(400, f"rpc error: code = FailedPrecondition desc = node {node['ID']} is {reason}")


def _completed(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A spec as the Engine keeps it."""
    spec = deepcopy(spec)
    if kind == "services":
        spec.setdefault("Mode", {"Replicated": {}})
        if "Replicated" in spec["Mode"]:
            spec["Mode"]["Replicated"].setdefault("Replicas", 1)
        template = spec["TaskTemplate"]
        template.setdefault("ForceUpdate", 0)
        template.setdefault("Runtime", "container")
        template["ContainerSpec"].setdefault("Isolation", "default")
    return spec


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a task of the one spec serves for the other: swarmkit does not look at the placement alone."""
    left_out = {"Placement": None, "Runtime": None}
    return {**one, **left_out} == {**other, **left_out}


def _used(service: dict[str, Any], word: str) -> set[str]:
    container = service["Spec"]["TaskTemplate"].get("ContainerSpec", {})
    return {item.get(f"{word}ID", "") for item in container.get(f"{word}s") or []}


def _taken(kind: str, name: str) -> str:
    conflict = "name conflicts with an existing object: " if kind == "services" else ""
    return f"{conflict}{kind[:-1]} {name} already exists"


def _fits(node: dict[str, Any], template: dict[str, Any]) -> bool:
    if node["Spec"]["Availability"] != "active" or node["Status"]["State"] != "ready":
        return False
    return all(_holds(node, one) for one in (template.get("Placement") or {}).get("Constraints") or [])


def _holds(node: dict[str, Any], constraint: str) -> bool:
    equal = "==" in constraint
    key, _, wanted = (part.strip() for part in constraint.partition("==" if equal else "!="))
    if key.startswith("node.labels."):
        value = node["Spec"]["Labels"].get(key.removeprefix("node.labels."), "")
    else:
        value = {"node.id": node["ID"], "node.hostname": name_of(node), "node.role": node["Spec"]["Role"]}[key]
    return bool((value == wanted) == equal)


def stack_service(name: str, stack: str = "ob", *, replicas: int = 1, **container: Any) -> dict[str, Any]:
    """The spec of a service of a stack, as `docker stack deploy` makes it.

    `constraints`, `ports` (published and target alike) and `volumes` (by their name in the stack) are lists of texts,
    `secrets` and `configs` the objects themselves; what else there is in `container` is the ContainerSpec's.
    """
    labels = {"com.docker.stack.namespace": stack}
    constraints = container.pop("constraints", [])
    ports = [{"PublishedPort": port, "TargetPort": port} for port in container.pop("ports", [])]
    described: dict[str, Any] = {"Image": "a:1", "Labels": labels}
    for word in ("Secret", "Config"):
        if objects := container.pop(f"{word.lower()}s", []):
            described[f"{word}s"] = [
                {f"{word}ID": item["ID"], f"{word}Name": name_of(item), "File": {"Name": name_of(item)}}
                for item in objects
            ]
    if volumes := container.pop("volumes", []):
        described["Mounts"] = [
            {"Type": "volume", "Source": f"{stack}_{volume}", "Target": f"/{volume}"} for volume in volumes
        ]
    template = {"ContainerSpec": {**described, **container}, "Placement": {"Constraints": constraints}}
    spec = {"Name": f"{stack}_{name}", "Labels": labels, "TaskTemplate": template}
    return {**spec, "Mode": {"Replicated": {"Replicas": replicas}}, "EndpointSpec": {"Ports": ports}}

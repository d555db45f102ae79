"""Small stack files, one for each key that `docker stack` knows and each kind of value, and what it answered to them.

`stack_values.tsv` has a line per key with a character per value: `.` if `docker stack config` takes it, `x` if not;
then the first version of stack files, 3.N, in which it takes the key. After a change of KEYS or VALUES record it again,
with docker CLI 28.2, which takes ten minutes:

    .venv.dev/bin/python tests/shared/stack_values.py /usr/bin/docker
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ANSWERS = Path(__file__).with_name("stack_values.tsv")
VALUES = (
    "null", "true", "'true'", "5", "'5'", "0", "-1", "1.5", "'1.5'", "1.0", "99999999999999999999", "x", "'x'", "''",
    "'a b'", "5s", "-5s", "'1d'", "64m", "'${V:-5}'", "'${V:-true}'", "'${V:-x}'", "$$x", "0400", "[]", "[x]", "[x, x]",
    "['', x]", "[5]", "[true]", "[null]", "[1.5]", "[[x]]", "[{a: x}]", "['a=1', b]", "{}", "{a: x}", "{a: 5}",
    "{a: true}", "{a: null}", "{a: 1.5}", "{a: [x]}", "{a: {b: x}}", "{'': x}", "{'a b': x}", "{x-a: 1}",
)  # fmt: skip
_DEPLOY = (
    "mode", "endpoint_mode", "replicas", "labels", "labels.a", "update_config", "rollback_config", "resources",
    "resources.limits", "resources.limits.cpus", "resources.limits.memory", "resources.limits.pids",
    "resources.reservations", "resources.reservations.cpus", "resources.reservations.memory",
    "resources.reservations.generic_resources", "resources.reservations.generic_resources[].discrete_resource_spec",
    "resources.reservations.generic_resources[].discrete_resource_spec.kind",
    "resources.reservations.generic_resources[].discrete_resource_spec.value", "restart_policy",
    "restart_policy.condition", "restart_policy.delay", "restart_policy.max_attempts", "restart_policy.window",
    "placement", "placement.constraints", "placement.preferences", "placement.preferences[].spread",
    "placement.max_replicas_per_node", "nonsense",
    *(f"{config}_config.{key}" for config in ("update", "rollback")
      for key in ("parallelism", "delay", "failure_action", "monitor", "max_failure_ratio", "order")),
)  # fmt: skip
_SERVICE = (
    "build", "build.context", "build.dockerfile", "build.args", "build.labels", "build.cache_from", "build.network",
    "build.target", "build.shm_size", "build.extra_hosts", "cap_add", "cap_drop", "cgroup_parent", "command", "configs",
    *(f"{kind}[].{key}" for kind in ("configs", "secrets") for key in ("source", "target", "uid", "gid", "mode")),
    "container_name", "credential_spec", "credential_spec.config", "credential_spec.file", "credential_spec.registry",
    "depends_on", "deploy", *(f"deploy.{key}" for key in _DEPLOY), "devices", "dns", "dns_search", "domainname",
    "entrypoint", "environment", "environment.A", "expose", "external_links", "extra_hosts", "healthcheck",
    "healthcheck.test", "healthcheck.interval", "healthcheck.timeout", "healthcheck.retries",
    "healthcheck.start_period", "healthcheck.start_interval", "healthcheck.disable", "healthcheck.nonsense", "hostname",
    "image", "init", "ipc", "isolation", "labels", "labels.a", "links", "logging", "logging.driver", "logging.options",
    "logging.options.a", "mac_address", "network_mode", "networks", "networks.a", "networks.a.aliases",
    "networks.a.driver_opts", "networks.a.driver_opts.b", "networks.a.ipv4_address", "networks.a.ipv6_address", "pid",
    "ports", "ports[].mode", "ports[].target", "ports[].published", "ports[].protocol", "ports[].nonsense",
    "privileged", "read_only", "restart", "secrets", "security_opt", "shm_size", "stdin_open", "stop_grace_period",
    "stop_signal", "sysctls", "tmpfs", "tty", "ulimits", "ulimits.a", "ulimits.a.soft", "ulimits.a.hard", "user",
    "userns_mode", "volumes", "volumes[].type", "volumes[].source", "volumes[].target", "volumes[].read_only",
    "volumes[].consistency", "volumes[].bind", "volumes[].bind.propagation", "volumes[].volume",
    "volumes[].volume.nocopy", "volumes[].tmpfs", "volumes[].tmpfs.size", "working_dir", "nonsense", "x-nonsense",
)  # fmt: skip
_TOP = (
    "version", "nonsense", "x-nonsense", "services", "services.a", "networks", "volumes", "secrets", "configs",
    *(f"networks.a{key}" for key in ("", ".name", ".driver", ".driver_opts", ".driver_opts.b", ".ipam", ".ipam.driver",
                                     ".ipam.config", ".ipam.config[].subnet", ".external", ".external.name",
                                     ".internal", ".attachable", ".labels", ".labels.b", ".nonsense", ".x-nonsense")),
    *(f"volumes.a{key}" for key in ("", ".name", ".driver", ".driver_opts", ".driver_opts.b", ".external",
                                    ".external.name", ".labels", ".labels.b", ".nonsense", ".x-nonsense")),
    *(f"{kind}.a{key}" for kind in ("secrets", "configs")
      for key in ("", ".name", ".file", ".external", ".external.name", ".labels", ".template_driver", ".driver",
                  ".driver_opts", ".nonsense", ".x-nonsense")),
)  # fmt: skip
KEYS = (*(f"services.s.{key}" for key in _SERVICE), *_TOP)
# What else a mapping needs, so that only the tested value can be wrong.
_BESIDE = {
    "services.s": {"image": "x:1"},
    "services.s.configs[]": {"source": "x"},
    "services.s.secrets[]": {"source": "x"},
    "services.s.ports[]": {"target": "80"},
    "services.s.volumes[]": {"type": "volume", "source": "x", "target": "/t"},
    "services.s.ulimits.a": {"soft": "1", "hard": "1"},
    "networks": {"x": "{}", "a": "{}"},
    "volumes": {"x": "{}", "a": "{}"},
    "secrets": {"x": "{external: true}", "a": "{external: true}"},
    "configs": {"x": "{external: true}", "a": "{external: true}"},
}


class Case(NamedTuple):
    """The stack file in which `key` has the YAML `value`."""

    key: str
    value: str

    @property
    def text(self) -> str:
        """The file."""
        sections = {"services": "{s: {image: 'x:1'}}", **{kind: _mapping(kind) for kind in tuple(_BESIDE)[-4:]}}
        steps = self.key.split(".")
        value = self.value
        for length in range(len(steps) - 1, 0, -1):
            item = f"[{value}]" if steps[length].endswith("[]") else value
            value = _mapping(".".join(steps[:length]), steps[length].removesuffix("[]"), item)
        sections[steps[0]] = value
        return "".join(f"{name}: {text}\n" for name, text in sections.items())

    def in_version(self, minor: int) -> str:
        """The file, in version 3.`minor`, with no other section than that of the key, and services."""
        sections = ("services", self.key.split(".")[0])
        kept = (line for line in self.text.splitlines() if line.split(":")[0] in sections)
        return "\n".join([f'version: "3.{minor}"', *kept, ""])


def _mapping(path: str, name: str = "", value: str = "") -> str:
    items = {**_BESIDE.get(path, {}), **({name: value} if name else {})}
    return "{" + ", ".join(f"{key}: {item}" for key, item in items.items()) + "}"


def cases() -> Iterator[Case]:
    """Each key with each value."""
    return (Case(key, value) for key in KEYS for value in VALUES)


def recorded() -> dict[Case, bool]:
    """Whether `docker stack config` took it, of each case."""
    return {
        Case(key, VALUES[index]): answer == "."
        for key, (answers, _) in _lines()
        for index, answer in enumerate(answers)
    }


def versions() -> dict[Case, int]:
    """A value that is taken, of each key, and the first version 3.N in which it is."""
    taken = {key: VALUES[answers.index(".")] for key, (answers, _) in _lines() if "." in answers}
    return {Case(key, taken[key]): int(minor) for key, (_, minor) in _lines() if key in taken and key != "version"}


def _lines() -> Iterator[tuple[str, tuple[str, str]]]:
    lines = [line.split("\t") for line in ANSWERS.read_text().splitlines()]
    found = [(key, len(answers)) for key, answers, _ in lines]
    assert found == [(key, len(VALUES)) for key in KEYS], "KEYS or VALUES changed: record the answers again"
    return ((key, (answers, minor)) for key, answers, minor in lines)


def takes(docker: Path, text: str) -> bool:
    """Whether `docker stack config` takes the text."""
    done = subprocess.run(
        [docker, "stack", "config", "-c", "-"], input=text, env={"HOME": "/nonexistent"}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode == 0


if __name__ == "__main__":
    program = Path(sys.argv[1])
    with ANSWERS.open("w") as file:
        for tested in KEYS:
            answers = "".join(".x"[not takes(program, Case(tested, value).text)] for value in VALUES)
            first = Case(tested, VALUES[answers.find(".")])
            minor = next(number for number in range(14) if takes(program, first.in_version(number)) or number == 13)
            file.write(f"{tested}\t{answers}\t{minor}\n")

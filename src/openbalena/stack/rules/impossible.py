"""Keys that Swarm does not support: an error with an alternative, unless `x-swarm.without` gives a reason."""

from openbalena.stack.rule import Native, Rules
from openbalena.stack.shape import BOOLEAN, STRING, UNIQUE_STRINGS, optional

RULES = Rules()

_WITHOUT = "or give the reason for leaving it out in x-swarm.without"
_DROPPED, _REFUSED = Native.DROPPED, Native.REFUSED

RULES.impossible(
    "privileged",
    _DROPPED,
    "Swarm has no privileged tasks",
    f"list the capabilities it needs in cap_add, {_WITHOUT}",
    shape=BOOLEAN,
)
RULES.impossible(
    "security_opt", _DROPPED, "`docker stack deploy` cannot send security options",
    f"set the engine's default, {_WITHOUT}", shape=UNIQUE_STRINGS,
)  # fmt: skip
RULES.impossible(
    "network_mode", _DROPPED, "tasks are on overlay networks",
    f"for the host's network declare `networks: {{host: {{external: true}}}}` and attach to it, {_WITHOUT}",
    shape=STRING,
)  # fmt: skip
RULES.impossible(
    "ipc", _DROPPED, "tasks have their own IPC namespace", f"join both programs in one image, {_WITHOUT}", shape=STRING
)
RULES.impossible(
    "pid",
    _DROPPED,
    "tasks have their own PID namespace",
    f"run it outside Swarm on each node, {_WITHOUT}",
    shape=optional(STRING),
)
RULES.impossible("uts", _REFUSED, "tasks have their own UTS namespace", f"set hostname, {_WITHOUT}")
RULES.impossible(
    "userns_mode", _DROPPED, "the engine's user namespace setting applies to all tasks", _WITHOUT, shape=STRING
)
RULES.impossible("cgroup", _REFUSED, "Swarm cannot choose a cgroup namespace", _WITHOUT)
RULES.impossible(
    "cgroup_parent", _DROPPED, "Swarm cannot choose a parent cgroup", f"set the engine's, {_WITHOUT}", shape=STRING
)
RULES.impossible(
    "external_links",
    _DROPPED,
    "Swarm has no links to containers",
    f"attach both to one network, {_WITHOUT}",
    shape=UNIQUE_STRINGS,
)
RULES.impossible(
    "domainname",
    _DROPPED,
    "`docker stack deploy` drops it",
    f"write the whole name as hostname, {_WITHOUT}",
    shape=STRING,
)
RULES.impossible("mac_address", _DROPPED, "tasks get their addresses from Swarm", _WITHOUT, shape=STRING)
RULES.impossible(
    "volumes_from", _REFUSED, "a task cannot mount another task's volumes", f"name the volumes, {_WITHOUT}"
)
RULES.impossible("volume_driver", _REFUSED, "a driver belongs to a volume", f"declare it below volumes, {_WITHOUT}")
RULES.impossible("dns_opt", _REFUSED, "`docker stack deploy` cannot send resolver options", _WITHOUT)
RULES.impossible(
    "group_add", _REFUSED, "`docker stack deploy` cannot send groups", f"write user as uid:gid, {_WITHOUT}"
)
RULES.impossible("device_cgroup_rules", _REFUSED, "tasks have the runtime's default device rules", _WITHOUT)
RULES.impossible("gpus", _REFUSED, "Swarm has generic resources instead", f"reserve generic_resources, {_WITHOUT}")
RULES.impossible("runtime", _REFUSED, "tasks run under the engine's default runtime", f"set the engine's, {_WITHOUT}")
RULES.impossible("storage_opt", _REFUSED, "Swarm has no storage options", _WITHOUT)
RULES.impossible("provider", _REFUSED, "the provider runs on one machine only", _WITHOUT)
RULES.impossible("models", _REFUSED, "models run on one machine only", _WITHOUT)
RULES.impossible("post_start", _REFUSED, "Swarm does not run hooks", f"do it in the entrypoint, {_WITHOUT}")
RULES.impossible("pre_stop", _REFUSED, "Swarm does not run hooks", f"handle stop_signal in the program, {_WITHOUT}")
RULES.impossible(
    "use_api_socket", _REFUSED, "Swarm does not provide an API socket", f"mount it on managers, {_WITHOUT}"
)
RULES.impossible("blkio_config", _REFUSED, "Swarm cannot limit block I/O", _WITHOUT)
RULES.impossible("oom_kill_disable", _REFUSED, "`docker stack deploy` cannot send it", _WITHOUT)
RULES.impossible("oom_score_adj", _REFUSED, "`docker stack deploy` cannot send it", _WITHOUT)
RULES.impossible("mem_swappiness", _REFUSED, "`docker stack deploy` cannot send it", _WITHOUT)
RULES.impossible("memswap_limit", _REFUSED, "`docker stack deploy` cannot send it", _WITHOUT)
for _key in ("cpu_count", "cpu_percent", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares"):
    RULES.impossible(
        _key, _REFUSED, "Swarm limits the number of processors", f"write deploy.resources.limits.cpus, {_WITHOUT}"
    )
RULES.impossible(
    "cpuset", _REFUSED, "Swarm cannot pin tasks to processors", f"place it on a node with placement, {_WITHOUT}"
)

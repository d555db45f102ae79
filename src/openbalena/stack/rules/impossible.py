"""Keys that Swarm cannot have: refused, each with the alternative, unless `x-swarm.without` gives a reason."""

from openbalena.stack.rule import Native, Rules

RULES = Rules()

_WITHOUT = "or give the reason why it can go in x-swarm.without"
_DROPPED, _REFUSED = Native.DROPPED, Native.REFUSED

RULES.impossible(
    "privileged", _DROPPED, "Swarm has no privileged tasks", f"name what it needs with cap_add, {_WITHOUT}"
)
RULES.impossible(
    "security_opt", _DROPPED, "`docker stack deploy` cannot send security options",
    f"set the engine's default, {_WITHOUT}",
)  # fmt: skip
RULES.impossible(
    "network_mode", _DROPPED, "tasks are on overlay networks",
    f"for the host's network declare `networks: {{host: {{external: true}}}}` and attach to it, {_WITHOUT}",
)  # fmt: skip
RULES.impossible(
    "ipc", _DROPPED, "tasks have an IPC namespace of their own", f"join both programs in one image, {_WITHOUT}"
)
RULES.impossible(
    "pid", _DROPPED, "tasks have a PID namespace of their own", f"run it outside Swarm on each node, {_WITHOUT}"
)
RULES.impossible("uts", _REFUSED, "tasks have a UTS namespace of their own", f"set hostname, {_WITHOUT}")
RULES.impossible("userns_mode", _DROPPED, "the engine's user namespace setting holds for all tasks", _WITHOUT)
RULES.impossible("cgroup", _REFUSED, "Swarm cannot choose a cgroup namespace", _WITHOUT)
RULES.impossible("cgroup_parent", _DROPPED, "Swarm cannot choose a parent cgroup", f"set the engine's, {_WITHOUT}")
RULES.impossible(
    "external_links", _DROPPED, "there are no links to containers", f"attach both to one network, {_WITHOUT}"
)
RULES.impossible(
    "domainname", _DROPPED, "`docker stack deploy` drops it", f"write the whole name as hostname, {_WITHOUT}"
)
RULES.impossible("mac_address", _DROPPED, "tasks get their addresses from Swarm", _WITHOUT)
RULES.impossible("volumes_from", _REFUSED, "a task mounts no other task's volumes", f"name the volumes, {_WITHOUT}")
RULES.impossible("volume_driver", _REFUSED, "a driver belongs to a volume", f"declare it below volumes, {_WITHOUT}")
RULES.impossible("dns_opt", _REFUSED, "`docker stack deploy` cannot send resolver options", _WITHOUT)
RULES.impossible(
    "group_add", _REFUSED, "`docker stack deploy` cannot send groups", f"write user as uid:gid, {_WITHOUT}"
)
RULES.impossible("device_cgroup_rules", _REFUSED, "tasks have the runtime's default device rules", _WITHOUT)
RULES.impossible("gpus", _REFUSED, "Swarm gives out generic resources", f"reserve generic_resources, {_WITHOUT}")
RULES.impossible("runtime", _REFUSED, "tasks run under the engine's default runtime", f"set the engine's, {_WITHOUT}")
RULES.impossible("storage_opt", _REFUSED, "Swarm has no storage options", _WITHOUT)
RULES.impossible("provider", _REFUSED, "the provider runs on one machine only", _WITHOUT)
RULES.impossible("models", _REFUSED, "models run on one machine only", _WITHOUT)
RULES.impossible("post_start", _REFUSED, "Swarm runs no hooks", f"do it in the entrypoint, {_WITHOUT}")
RULES.impossible("pre_stop", _REFUSED, "Swarm runs no hooks", f"handle stop_signal in the program, {_WITHOUT}")
RULES.impossible("use_api_socket", _REFUSED, "Swarm hands in no API socket", f"mount it on managers, {_WITHOUT}")
RULES.impossible("blkio_config", _REFUSED, "Swarm limits no block I/O", _WITHOUT)
RULES.impossible("oom_kill_disable", _REFUSED, "`docker stack deploy` cannot send it", _WITHOUT)
RULES.impossible("oom_score_adj", _REFUSED, "`docker stack deploy` cannot send it", _WITHOUT)
RULES.impossible("mem_swappiness", _REFUSED, "`docker stack deploy` cannot send it", _WITHOUT)
RULES.impossible("memswap_limit", _REFUSED, "`docker stack deploy` cannot send it", _WITHOUT)
for _key in ("cpu_count", "cpu_percent", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares"):
    RULES.impossible(
        _key, _REFUSED, "Swarm limits processors by number", f"write deploy.resources.limits.cpus, {_WITHOUT}"
    )
RULES.impossible("cpuset", _REFUSED, "Swarm pins to no processor", f"place it on a node with placement, {_WITHOUT}")

"""Networks and volumes of a stack."""

from openbalena.compose.tree import Map, Seq
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.nodes import bind_diagnostic

_NETWORK_KEYS = ("name", "driver", "driver_opts", "attachable", "internal", "external", "labels")
_LOCAL_DRIVERS = ("bridge", "host", "none", "null")


def network(name: str, written: Map, diagnostics: list[Diagnostic]) -> Map:
    """A network: external ones are kept; others become overlays, as tasks run on several nodes."""
    kept = Map(position=written.position)
    for key in _NETWORK_KEYS:
        if key in written:
            kept.put(key, written[key], written.at(key))
    if kept.get("driver") in _LOCAL_DRIVERS and not kept.get("external"):
        place = written.at("driver")
        diagnostics.append(
            Diagnostic(
                place, "networks.driver", Severity.NOTE, f"{name} becomes an overlay: a bridge cannot span nodes"
            )
        )
        kept.put("driver", "overlay", place)
        if kept.pop("driver_opts", None):
            diagnostics.append(
                Diagnostic(written.at("driver_opts"), "networks.driver_opts", Severity.WARNING,
                           "options of another driver do not apply to an overlay", "write overlay options in x-swarm")
            )  # fmt: skip
    for key in ("enable_ipv6", "enable_ipv4"):
        if key in written and not kept.get("external"):
            diagnostics.append(
                Diagnostic(written.at(key), f"networks.{key}", Severity.WARNING, "`docker stack` refuses it",
                           "create the network with `docker network create` and declare it external")
            )  # fmt: skip
    ipam = written.get("ipam")
    if isinstance(ipam, Map) and not kept.get("external"):
        kept.put("ipam", _ipam(ipam, diagnostics), written.at("ipam"))
    return kept


def _ipam(ipam: Map, diagnostics: list[Diagnostic]) -> Map:
    kept = Map(position=ipam.position)
    if ipam.get("driver"):
        kept.put("driver", ipam["driver"], ipam.at("driver"))
    pools = Seq(ipam.at("config"))
    for pool in ipam.get("config") or ():
        for key in pool:
            if key != "subnet":
                diagnostics.append(
                    Diagnostic(pool.at(key), f"networks.ipam.config.{key}", Severity.WARNING,
                               "`docker stack deploy` refuses it", "Swarm assigns the addresses of the subnet")
                )  # fmt: skip
        if "subnet" in pool:
            pools.put(Map([("subnet", pool["subnet"])], pool.position), pool.position)
    if pools:
        kept.put("config", pools, ipam.at("config"))
    if ipam.get("options"):
        diagnostics.append(
            Diagnostic(ipam.at("options"), "networks.ipam.options", Severity.WARNING, "`docker stack` refuses it")
        )
    return kept


def volume(name: str, written: Map, diagnostics: list[Diagnostic]) -> Map:
    """A volume, unchanged; an external one remains external. A path of a node is noted."""
    if note := bind_diagnostic(name, written):
        diagnostics.append(note)
    return written

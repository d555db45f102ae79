"""Which values are damaged on their way to openBalena's processes by the scripts of their images.

Taken from the images' sources: open-balena-base 21.0.32 (src/configure-balena.sh), open-balena-vpn 12.3.105
(bin/start.sh), open-balena-registry 3.0.107 (config/confd/templates/docker-registry.yml.tmpl).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import yaml

from openbalena.settings.variables import variables


class Place(NamedTuple):
    """`fault(value)` names what is lost, empty if nothing is; `where` and `expected` complete the message."""

    where: str
    expected: str
    fault: Callable[[str], str]
    cluster_only: bool = False


# Bash, on the right-hand side of an assignment: no word splitting and no file name expansion there.
_SHELL = frozenset("$;&()<>|`'\"\\ \t")
_SHELL_EXPECTED = "none of $ ; & ( ) < > |, quotes, backslashes and spaces, and no ~ at the beginning or after a colon"


def _shell(value: str) -> str:
    damaged = sorted(_SHELL & set(value))
    if value.startswith("~") or ":~" in value:
        damaged.append("~ at the beginning or after a colon")
    return " ".join(damaged)


def _yaml(value: str) -> str:
    return "" if _node(value) else "characters that are special in YAML (such as # or @ at the beginning)"


def _yaml_text(value: str) -> str:
    node = _node(value)
    # An integer below 2^63 is printed as it was written.
    if node is None or (value.isdigit() and len(value) < 19 and value[0] != "0"):
        return _yaml(value)
    # The registry's YAML parser takes 12e5 and 089 for numbers, PyYAML (YAML 1.1) does not.
    text = node.tag == "tag:yaml.org,2002:str" and not re.fullmatch(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?", value)
    return "" if text else _NUMBER


def _node(value: str) -> yaml.ScalarNode | None:
    """The plain scalar that `value` becomes after a key; None if it becomes anything else."""
    try:
        document = yaml.compose(f"key: {value}\n", Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    node = document.value[0][1] if isinstance(document, yaml.MappingNode) else None
    return node if isinstance(node, yaml.ScalarNode) and node.style is None and node.value == value else None


_NUMBER = "what YAML parses as a number"
_REGISTRY = "in the registry's configuration, which does not quote it"
PLACES = {
    "shell": Place("in the VPN's start script, which reads it without quotes", _SHELL_EXPECTED, _shell),
    "cluster_shell": Place(
        "in a cluster, where the images' start script reads it without quotes",
        _SHELL_EXPECTED,
        _shell,
        cluster_only=True,
    ),
    "yaml": Place(_REGISTRY, "a letter or digit at the beginning and no colon at the end", _yaml),
    "yaml_text": Place(
        _REGISTRY, "a letter or digit at the beginning, no colon at the end, and not a number", _yaml_text
    ),
    # open-balena-api 49.0.12, src/lib/config.ts, redisAuthVar: name and password are separated by a colon.
    "redis_auth": Place(
        "in the api, which treats it as the end of the user name", "no colon", lambda value: ":" * (":" in value)
    ),
    # Signature Version 4: Authorization: … Credential=<access key>/…, SignedHeaders=…
    "s3_header": Place("in the requests to the object store", "no comma", lambda value: "," * ("," in value)),
}


def unfit_value(values: Mapping[str, str], *, cluster: bool) -> Iterator[tuple[str, str]]:
    """Each variable whose value would be damaged, with a message that quotes only the value's special characters.

    Without `cluster`, values that only a cluster damages are left out.
    """
    for name, variable in variables().items():
        for place in (PLACES[key] for key in variable.passes):
            if place.cluster_only and not cluster:
                continue
            value = values.get(name)
            if value and (fault := place.fault(value)):
                rotate = f", or run ./open-balena.sh secrets rotate {name}" * variable.token
                yield (
                    name,
                    f"{name} contains {fault}, which is lost {place.where}: expected {place.expected}: set another "
                    f"value{rotate}",
                )
                break

"""Which values do not reach openBalena's processes as they are: what their images do with each on its way.

Read off the images' sources: open-balena-base 21.0.32 (src/configure-balena.sh), open-balena-vpn 12.3.105
(bin/start.sh), open-balena-registry 3.0.107 (config/confd/templates/docker-registry.yml.tmpl).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import yaml

from openbalena.settings.variables import variables


class Place(NamedTuple):
    """`fault(value)` names what gets lost, empty where nothing does; `where` and `expected` complete the sentence."""

    where: str
    expected: str
    fault: Callable[[str], str]
    cluster_only: bool = False


# Bash, on the right of an assignment: words are not split and no file names are expanded there.
_SHELL = frozenset("$;&()<>|`'\"\\ \t")
_SHELL_WORDS = "no $ ; & ( ) < > | and quotes, and no ~ at its begin or after a colon"


def _shell(value: str) -> str:
    found = sorted(_SHELL & set(value))
    if value.startswith("~") or ":~" in value:
        found.append("~ at its begin or after a colon")
    return " ".join(found)


def _yaml(value: str) -> str:
    return "" if _node(value) else "something that YAML reads as more than a value (such as # or @ at its begin)"


def _yaml_text(value: str) -> str:
    node = _node(value)
    # A whole number below 2^63 is printed as it was written.
    if node is None or (value.isdigit() and len(value) < 19 and value[0] != "0"):
        return _yaml(value)
    # The registry's YAML takes 12e5 and 089 for numbers, YAML 1.1 as it is read here does not.
    text = node.tag == "tag:yaml.org,2002:str" and not re.fullmatch(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?", value)
    return "" if text else _NUMBER


def _node(value: str) -> yaml.ScalarNode | None:
    """The plain scalar that `value` is behind a key; None where it is something else there."""
    try:
        document = yaml.compose(f"key: {value}\n", Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    node = document.value[0][1] if isinstance(document, yaml.MappingNode) else None
    return node if isinstance(node, yaml.ScalarNode) and node.style is None and node.value == value else None


_NUMBER = "what YAML takes for a number"
_REGISTRY = "in the registry's configuration, where it stands without quotes"
PLACES = {
    "shell": Place("in the VPN's start script, which reads it without quotes", _SHELL_WORDS, _shell),
    "cluster_shell": Place(
        "in a cluster, where the images' start script reads it without quotes", _SHELL_WORDS, _shell, cluster_only=True
    ),
    "yaml": Place(_REGISTRY, "a letter or digit at its begin and no colon at its end", _yaml),
    "yaml_text": Place(
        _REGISTRY, "a letter or digit at its begin, no colon at its end and more than a number", _yaml_text
    ),
    # open-balena-api 49.0.12, src/lib/config.ts, redisAuthVar: name and password are separated by a colon.
    "redis_auth": Place(
        "in the api, which takes it for the end of a user's name", "no colon", lambda value: ":" * (":" in value)
    ),
    # Signature Version 4: Authorization: … Credential=<access key>/…, SignedHeaders=…
    "s3_header": Place("in the requests to the object store", "no comma", lambda value: "," * ("," in value)),
}


def unfit(values: Mapping[str, str], *, cluster: bool) -> Iterator[tuple[str, str]]:
    """Each variable whose value does not survive, with the sentence that says so and quotes none of a value but signs.

    Without `cluster` those are left out that only a cluster damages.
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
                    f"{name} holds {fault}, which gets lost {place.where}: expected {place.expected}: set another value"
                    f"{rotate}",
                )
                break

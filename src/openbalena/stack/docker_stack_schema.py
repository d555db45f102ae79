"""What plain `docker stack` (CLI 28.2, schema 3.13) refuses or drops in a stack file; it gives no line numbers.

The values of a service's keys are described in their rules; the top level is described here.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from openbalena.compose.normal import misplaced
from openbalena.compose.normal.scalars import nearest
from openbalena.compose.normal.service import KEYS
from openbalena.compose.tree import Map
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.kinds import Kind, kind
from openbalena.stack.rule import Native, Status
from openbalena.stack.rules import RULES
from openbalena.stack.shape import (
    BOOLEAN,
    KEY_VALUES,
    LATEST,
    NAME,
    ONE_OR_MANY,
    OPTIONS,
    STRING,
    At,
    Shape,
    either,
    mapping,
    names,
    optional,
    pattern,
    sequence,
    since,
)

# Keys that the loader resolves before the rules are applied.
_LOADED = {
    "extends": "write the service in full, or compile it: stack render",
    "label_file": "write the labels in the stack file, or compile it: stack render",
}
_VERSION = re.compile(r"3\.([0-9]|1[0-3])")
_TO_A_FILE = "write the {} to a file and use file:"


def _service(service: Map, at: At) -> Iterator[Diagnostic]:
    for key, value in service.items():
        rule = RULES.get(key)
        if rule is not None and rule.native is Native.KEPT and rule.shape and kind(value) in rule.shape.free:
            continue
        below = At(service.at(key), key, at.variables, at.minor)
        if key in _LOADED:
            yield below.refuse("this key", _LOADED[key])
        elif key == "env_file":
            yield from ONE_OR_MANY.findings(value, below)
        elif rule is not None and rule.native is Native.REFUSED:
            yield below.refuse("this key", rule.instead)
        elif rule is not None:
            if rule.native is Native.DROPPED:
                severity = Severity.WARNING if rule.status is Status.IRRELEVANT else Severity.ERROR
                yield Diagnostic(below.position, key, severity, "`docker stack` drops this key", rule.instead)
            if rule.shape is not None:
                yield from rule.shape.findings(value, below)
        elif key.startswith("x-"):
            yield from below.too_old(7)
        elif key not in (*KEYS, "cgroupns_mode"):
            yield below.refuse("this key", nearest(key, KEYS) or "leave it out")


def _external_volume(volume: Map, at: At) -> Iterator[Diagnostic]:
    for key in ("driver", "driver_opts", "labels"):
        if volume.get("external") and volume.get(key):
            yield at.below(key, volume.at(key)).refuse("this key of an external volume", "remove it")
    yield from _one_name(volume, at)


def _one_name(resource: Map, at: At) -> Iterator[Diagnostic]:
    external = resource.get("external")
    if isinstance(external, Map) and external.get("name") and resource.get("name"):
        yield at.below("name", resource.at("name")).refuse("two names", "remove external.name")


def _secret(secret: Map, at: At) -> Iterator[Diagnostic]:
    if not secret.get("external") and secret.get("driver") and secret.get("file"):
        yield at.below("file", secret.at("file")).refuse("a file next to a driver", "remove one of them")
    yield from _one_name(secret, at)


_EXTERNAL = either(BOOLEAN, mapping({"name": STRING}))
_CONTENT = {
    "name": since(5, STRING), "file": STRING, "external": either(BOOLEAN, mapping({"name": STRING}, closed=False)),
    "labels": KEY_VALUES, "template_driver": since(8, STRING),
}  # fmt: skip
_FROM_FILE = {key: _TO_A_FILE.format(what) for key, what in (("content", "content"), ("environment", "value"))}
_NETWORK = mapping({
    "name": since(5, STRING), "driver": STRING, "driver_opts": OPTIONS, "external": _EXTERNAL, "internal": BOOLEAN,
    "attachable": since(2, BOOLEAN), "labels": KEY_VALUES,
    "ipam": mapping({"driver": STRING, "config": sequence(mapping({"subnet": STRING}))}),
}, extensions=7, also=_one_name)  # fmt: skip
_VOLUME = mapping(
    {"name": since(4, STRING), "driver": STRING, "driver_opts": OPTIONS, "external": _EXTERNAL, "labels": KEY_VALUES},
    extensions=7, also=_external_volume,
)  # fmt: skip
_SECRET = mapping(
    {**_CONTENT, "driver": since(8, STRING), "driver_opts": since(8, OPTIONS)},
    instead=_FROM_FILE,
    extensions=7,
    also=_secret,
)
_CONFIG = mapping(_CONTENT, instead=_FROM_FILE, extensions=7, also=_secret)
_SERVICE = Shape("a mapping", frozenset({Kind.MAPPING}), _service)
STACK = mapping(
    {
        "version": pattern(r"|3(\.([0-9]|1[0-3]))?", 'version "3", "3.0", … or "3.13", or leave it out'),
        "services": names(_SERVICE, expression=NAME),
        "networks": names(optional(_NETWORK), expression=NAME, closed=False),
        "volumes": names(optional(_VOLUME), expression=NAME),
        "secrets": since(1, names(_SECRET, expression=NAME)),
        "configs": since(3, names(_CONFIG, expression=NAME)),
    },
    instead={
        "name": "give the stack its name when it is deployed",
        "include": "name the files with -c",
    },
    extensions=4,
)  # fmt: skip


_SECTIONS = {"networks": _NETWORK, "volumes": _VOLUME, "secrets": _SECRET, "configs": _CONFIG}


def schema_findings(tree: Map) -> list[Diagnostic]:
    """Every key and value of a stack file that `docker stack` refuses or drops."""
    declared = _VERSION.fullmatch(str(tree.get("version")))
    minor = int(declared[1]) if declared else LATEST
    found = STACK.findings(tree, At(tree.position, "", variables=True, minor=minor))
    unknown = {key: item for key, item in tree.items() if key not in ("services", *_SECTIONS) and key[:2] != "x-"}
    return [replace(item, instead=misplaced(unknown.get(item.rule)) or item.instead) for item in found]


def compiled_findings(section: str, item: Map, variables: bool) -> Iterator[Diagnostic]:
    """Every value that `docker stack` refuses in a compiled item of `section`; `variables` if `${…}` is one in it."""
    shape = _SERVICE if section == "services" else _SECTIONS[section]
    return shape.findings(item, At(item.position, section, variables))

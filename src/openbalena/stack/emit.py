"""A stack as text that both PyYAML and Docker's YAML reader (go-yaml v3) read as the same values."""

from collections.abc import Mapping
from typing import Any

import yaml

from openbalena.compose.yaml_nodes import scalar


class Octal(int):
    """A file's mode: written as such."""


class _Dumper(yaml.CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.CSafeDumper, value: str) -> yaml.Node:
    """Quoted where go-yaml would read something else than text; line breaks as a block."""
    if "\n" in value and all(character.isprintable() or character == "\n" for character in value):
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|")
    style = None if isinstance(scalar(value), str) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _none(dumper: yaml.CSafeDumper, value: None) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:null", "null")


def _mode(dumper: yaml.CSafeDumper, value: Octal) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:int", f"0{value:o}")


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Octal, _mode)
_Dumper.add_representer(type(None), _none)


def dump(document: Mapping[str, Any]) -> str:
    """`document` as YAML, keys in their order, no line folded."""
    text: str = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=2**31 - 1, allow_unicode=True
    )
    return text

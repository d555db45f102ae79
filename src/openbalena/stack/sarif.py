"""Diagnostics for code review tools: SARIF 2.1.0 (OASIS standard, sections 3.13 to 3.30)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from openbalena import __version__
from openbalena.base.errors import UsageError
from openbalena.stack.diagnostic import Diagnostic
from openbalena.stack.explain import explain


def log(diagnostics: Iterable[Diagnostic]) -> dict[str, Any]:
    """A SARIF log of one run; paths below the working directory are relative to it."""
    items = list(diagnostics)
    rules = sorted({diagnostic.rule for diagnostic in items})
    driver = {"name": "compose2swarm", "version": __version__, "rules": [_rule(rule, items) for rule in rules]}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                # As libyaml counts; the default is UTF-16 code units.
                "columnKind": "unicodeCodePoints",
                "results": [_result(diagnostic, rules) for diagnostic in items],
            }
        ],
    }


def _rule(name: str, diagnostics: Iterable[Diagnostic]) -> dict[str, Any]:
    """The rule with its explanation, or else the meaning of its first finding."""
    try:
        found = explain(name)
        text = f"{found.meaning}. {found.instead}".removesuffix(". ")
    except UsageError:
        text = next(item.meaning for item in diagnostics if item.rule == name)
    return {"id": name, "shortDescription": {"text": text}, "help": {"text": text}}


def _result(diagnostic: Diagnostic, rules: list[str]) -> dict[str, Any]:
    position = diagnostic.position
    instead = f"; {diagnostic.instead}" if diagnostic.instead else ""
    return {
        "ruleId": diagnostic.rule,
        "ruleIndex": rules.index(diagnostic.rule),
        "level": str(diagnostic.severity),
        "message": {"text": f"{diagnostic.meaning}{instead}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(Path(position.file))},
                    "region": {"startLine": position.line, "startColumn": position.column},
                }
            }
        ],
    }


def _uri(path: Path) -> str:
    """RFC 3986: a colon in the first part of a relative reference would end a scheme's name."""
    here = Path.cwd()
    absolute = path.absolute()
    return quote(absolute.relative_to(here).as_posix()) if absolute.is_relative_to(here) else absolute.as_uri()

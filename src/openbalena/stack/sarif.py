"""Diagnostics for code review tools: SARIF 2.1.0 (OASIS standard, sections 3.13 to 3.30)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from openbalena import __version__
from openbalena.stack.diagnostic import Diagnostic


def log(diagnostics: Iterable[Diagnostic]) -> dict[str, Any]:
    """A SARIF log of one run; paths below the working directory are relative to it."""
    items = list(diagnostics)
    rules = sorted({diagnostic.rule for diagnostic in items})
    driver = {"name": "openbalena stack validate", "version": __version__, "rules": [{"id": rule} for rule in rules]}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": [_result(diagnostic, rules) for diagnostic in items]}],
    }


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
    here = Path.cwd()
    absolute = path.absolute()
    return absolute.relative_to(here).as_posix() if absolute.is_relative_to(here) else absolute.as_uri()

"""Compares a checkout of openBalena with the one this project was last compared with, service by service.

The facts of that one are in src/openbalena/upstream/upstream.yml; tests compare our own definitions with them.
The exit code is 0 without differences, 1 with differences, 2 for wrong use.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from openbalena.base.errors import UsageError
from openbalena.base.files import write_atomic
from openbalena.upstream import checkout
from openbalena.upstream.facts import Facts, differences

KNOWN = Path(__file__).with_name("upstream.yml")
_HEAD = """\
# What the docker-compose.yml of https://github.com/balena-io/open-balena gives its services, as facts: facts.py says
# how they are named. Written by `scripts/check-upstream --update DIR`; without --update, DIR is compared with it.
"""


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="scripts/check-upstream", description=__doc__)
    parser.add_argument("directory", metavar="DIR", type=Path, help="a checkout of balena-io/open-balena")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--update", action="store_true", help="also write the facts of DIR to upstream.yml")
    parser.add_argument("--known", metavar="FILE", type=Path, default=KNOWN, help="the facts (default: upstream.yml)")
    options = parser.parse_args(arguments)
    try:
        known = _known(options.known)
        now, services = checkout.version(options.directory), checkout.read(options.directory)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    changed = _changed(known["services"], services)
    if options.json:
        print(json.dumps({"version": now, "known": known["version"], "services": changed}, indent=2))
    else:
        print(_text(changed, now or "(no VERSION)", known["version"]))
    if options.update:
        write_atomic(options.known, _HEAD + yaml.safe_dump({"version": now, "services": services}, width=10_000))
    return 1 if changed else 0


def _known(file: Path) -> dict[str, Any]:
    try:
        known = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from None
    if not isinstance(known, dict) or {*known} != {"version", "services"}:
        raise UsageError(f"{file}: expected a file as written by --update: a mapping with version and services")
    return known


def _changed(known: dict[str, Facts], current: dict[str, Facts]) -> dict[str, list[dict[str, str | None]]]:
    services = {}
    for name in sorted({*known, *current}):
        state = "new" if name not in known else "gone" if name not in current else ""
        changes = [{"fact": "service", "known": None, "now": state}] if state else []
        changes += [
            {"fact": fact, "known": before, "now": after}
            for fact, (before, after) in differences(known.get(name, {}), current.get(name, {})).items()
            if state != "gone"
        ]
        if changes:
            services[name] = changes
    return services


def _text(changed: dict[str, list[dict[str, str | None]]], now: str, before: str) -> str:
    lines = []
    for service, changes in changed.items():
        lines.append(service)
        for change in changes:
            fact, old, new = change["fact"], change["known"], change["now"]
            if fact == "service":
                lines.append(f"  the service is {new}")
            elif old is None:
                lines.append(f"  new      {fact}: {new}")
            elif new is None:
                lines.append(f"  gone     {fact}: {old}")
            else:
                lines.append(f"  changed  {fact}: {old} -> {new}")
    count = sum(map(len, changed.values()))
    return "\n".join(
        [*lines, f"open-balena {now} compared with {before}: {count or 'no'} difference{'s' * (count != 1)}"]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""docs/settings.md, generated from variables.yml: `python -m openbalena.settings.reference >docs/settings.md`."""

from itertools import groupby

from openbalena.settings.types import TYPES
from openbalena.settings.variables import Variable, variables

HEAD = """\
# Settings

A deployment's settings are in `.env`, in docker compose's format. `./open-balena.sh config` writes it: it prompts at a
terminal, and uses options, environment variables and an existing `.env`. Every command reads the file and rejects
invalid values, with file and line. An environment variable of the same name takes precedence over `.env`, as with
`docker compose`. `./open-balena.sh showenv` prints the effective settings, and `./open-balena.sh config --unset NAME`
removes one from `.env`, so that its default applies again.

Once `.env` has `COMPOSE_PROFILES`, it alone decides which services run. `config` writes it from `PROFILES`,
`EXTERNAL_POSTGRES`, `EXTERNAL_S3`, `ACME_EMAIL` with its DNS token, and `TUNNEL_TOKEN`; so setting one of these in the
environment (`PROFILES=admin ./open-balena.sh swarm-up`) has no effect until `config` has run with it. Commands warn if
the two differ.

"secret" values are masked wherever they are shown and have no option, because the process list shows options.
"token" values are generated once by `config` (16 random bytes in hex) and never change after that.

openBalena's images read some values without quotes, so a few characters would damage them, or the lines after them.
`up` and `swarm-up` reject such a value by name, and other commands warn about it: in tokens and SUPERUSER_EMAIL
`$ ; & ( ) < > |`, quotes, and `~` at the beginning or after a colon (on a single machine only in the VPN's two keys);
in the keys of the object store and REGISTRY2_SECRETKEY also anything that YAML does not parse as text, and in access
keys a comma.

This page is generated from `src/openbalena/settings/variables.yml`; change it there.
"""


def markdown() -> str:
    """The whole page."""
    parts = [HEAD]
    for section, members in groupby(variables().values(), key=lambda variable: variable.section):
        rows = [_row(variable) for variable in members]
        parts.append(
            "\n".join(["", f"## {section}", "", "| Variable | Default | Meaning |", "|---|---|---|", *rows, ""])
        )
    return "".join(parts)


def _row(variable: Variable) -> str:
    default = variable.derive or variable.default
    notes = [
        *(["secret"] if variable.secret and not variable.token else []),
        *(["token"] if variable.token else []),
        *([f"required if {variable.when} is true" if variable.when else "required"] if variable.required else []),
        *(["not used by this project"] if variable.unused else []),
        *([f"`config {variable.option}`"] if variable.option else []),
    ]
    obvious = variable.unused or variable.type in ("text", "token", "image")
    expected = "" if obvious else f" Expected: {TYPES[variable.type].expected}."
    remark = f" ({'; '.join(notes)})" if notes else ""
    meaning = f"{variable.help}{expected}{remark}".replace("|", r"\|")
    return f"| `{variable.name}` | {f'`{default}`' if default else ''} | {meaning} |"


if __name__ == "__main__":
    print(markdown(), end="")

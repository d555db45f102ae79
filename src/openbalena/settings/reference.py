"""docs/settings.md, written from variables.yml: `python -m openbalena.settings.reference >docs/settings.md`."""

from itertools import groupby

from openbalena.settings.types import TYPES
from openbalena.settings.variables import Variable, variables

HEAD = """\
# Settings

A deployment's settings stand in `.env`, in docker compose's format. `./open-balena.sh config` writes it: it asks at a
terminal, and takes options, environment variables and the `.env` that is there. Every command reads it again and
refuses values that are wrong, with file and line. An environment variable of the same name wins over `.env`, as with
`docker compose`. `./open-balena.sh showenv` prints what is in force.

Once `.env` has `COMPOSE_PROFILES`, it alone decides which services run. `config` writes it from `PROFILES`,
`EXTERNAL_POSTGRES`, `EXTERNAL_S3`, `ACME_EMAIL` with its DNS token, and `TUNNEL_TOKEN`; so one of these in the
environment (`PROFILES=admin ./open-balena.sh swarm-up`) changes no service before `config` has run with it. Commands
warn where the two differ.

"secret" values are masked wherever they are shown and have no option, because options can be read in the process list.
"token" values are made once by `config` (16 random bytes in hex) and never change after that.

openBalena's images read some values without quotes, so that a few characters would change them, or the lines behind
them. `up` and `swarm-up` refuse such a value with its name, and other commands warn of it: in tokens and
SUPERUSER_EMAIL `$ ; & ( ) < > |`, quotes, and `~` at the begin or after a colon (on one machine only in the VPN's two
keys); in the keys of the object store and REGISTRY2_SECRETKEY also what YAML reads as something else than text, and in
access keys a comma.

This page is made from `src/openbalena/settings/variables.yml`; change it there.
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
        *([f"needed where {variable.when} is true" if variable.when else "needed"] if variable.required else []),
        *(["nothing here reads it"] if variable.unused else []),
        *([f"`config {variable.option}`"] if variable.option else []),
    ]
    obvious = variable.unused or variable.type in ("text", "token", "image")
    expected = "" if obvious else f" Expected: {TYPES[variable.type].expected}."
    remark = f" ({'; '.join(notes)})" if notes else ""
    meaning = f"{variable.help}{expected}{remark}".replace("|", r"\|")
    return f"| `{variable.name}` | {f'`{default}`' if default else ''} | {meaning} |"


if __name__ == "__main__":
    print(markdown(), end="")

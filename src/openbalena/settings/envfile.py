"""Writing `.env`: a new file with every variable explained, or an update of an existing one."""

import re
import textwrap
from collections.abc import Collection, Mapping

from openbalena.compose import dotenv
from openbalena.settings.variables import Variable, variables

HEAD = (
    "# Settings of this openBalena deployment; docs/settings.md explains them. Keep this file secret and back it up.\n"
)
WIDTH = 118


def new(values: Mapping[str, str]) -> str:
    """A new file with `values` and, as comments, each variable's purpose and default."""
    lines, section = [HEAD], ""
    for name, variable in variables().items():
        if variable.type == "image" and name not in values:
            continue  # A copy of the default would be outdated after the next upgrade.
        if variable.section != section:
            section = variable.section
            lines.append(f"\n##### {section} #####\n")
        lines.append(_comment(variable))
        lines.append(f"{name}={dotenv.quote(values[name])}\n" if name in values else f"#{name}={variable.default}\n")
    return "".join(lines)


def update(file: dotenv.Dotenv, values: Mapping[str, str]) -> str:
    """The text of `file` with `values`: in place, else below the commented-out assignment, else at the end."""
    described = variables()
    for name, value in values.items():
        placeholder = re.search(rf"^#{name}=.*\n", file.text, re.MULTILINE)
        if name not in file.entries and placeholder:
            end = placeholder.end()
            text = f"{file.text[:end]}{name}={dotenv.quote(value)}\n{file.text[end:]}"
            file = dotenv.parse(text, file.path, file.environment)
            continue
        if name not in file.entries and name in described:
            gap = "" if not file.text or file.text.endswith("\n") else "\n"
            file = dotenv.parse(file.text + gap + _comment(described[name]), file.path, file.environment)
        file.set(name, value)
    return file.text


def without(file: dotenv.Dotenv, names: Collection[str]) -> str:
    """The text of `file` without these variables, and without the comments that `update` adds to them."""
    text = file.text
    for name in names:
        comment = _comment(variables()[name])
        text = text.replace(f"{comment}{name}=", f"{name}=")
    file = dotenv.parse(text, file.path, file.environment)
    for name in names:
        file.remove(name)
    return file.text


def unset(file: dotenv.Dotenv, name: str) -> str:
    """The text of `file` without `name`; a setting is commented out, as in a new file, so that its purpose is kept."""
    described, entry = variables(), file.entries[name]
    if name in described and not re.search(rf"^#{name}=", file.text, re.MULTILINE):
        begin = file.text.rfind("\n", 0, entry.start) + 1
        commented = f"#{name}={described[name].default}\n"
        file = dotenv.parse(f"{file.text[:begin]}{commented}{file.text[begin:]}", file.path, file.environment)
    file.remove(name)
    return file.text


def _comment(variable: Variable) -> str:
    return textwrap.fill(variable.help, WIDTH, initial_indent="# ", subsequent_indent="# ") + "\n"

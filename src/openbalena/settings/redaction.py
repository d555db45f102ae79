"""Removing secrets from what leaves the machine, such as a support archive.

Three ways together, since each has gaps: known values, wherever they are; fields and variables that may have one,
whatever their value is; and the forms that secrets have in text.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from openbalena.base.names import OUR_LABELS, STACK_LABELS
from openbalena.settings.values import MASK, Settings
from openbalena.settings.variables import variables

# Shorter values of secret settings are masked only if they stand alone: they may be a part of unrelated text.
_PART_OF_TEXT = 6
# Shorter values cannot be told from other text, such as `on`; of unknown settings many are no secrets, such as `true`.
_SHORTEST, _SHORTEST_UNKNOWN = 3, 8
# Characters of a line of a key (RFC 7468 has 64); the last one may be shorter.
_KEY_LINE = 16
_COMPOSE = ("COMPOSE_", "DOCKER_")
# How fields and variables with a secret are named.
_NAME = r"pass(?:word|wd|phrase)?|secret|token|credential|api[_-]?key|(?:secret|private|access|unlock|ca)[_-]?key"
# A field of the Engine API, of a log driver or of a volume whose value is masked: `JoinTokens`, `splunk-token`.
_SECRET_FIELD = re.compile(rf"(?i)(?:{_NAME}|authorization)s?$")
# An option whose value is the next word, as programs are given them.
_OPTION = rf"(?<!\S)--?[\w-]*(?:{_NAME})s?"
_TEXTS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A log may begin or end within a key (RFC 7468).
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S), MASK),
    (re.compile(r"\A.*?-----END [A-Z ]*PRIVATE KEY-----", re.S), MASK),
    # Docker's join tokens and unlock keys.
    (re.compile(r"SWM(?:TKN|KEY)-1-[\w/+-]+"), MASK),
    # JSON web tokens (RFC 7519), and HTTP authentication (RFC 9110, 11.4).
    (re.compile(r"\beyJ[\w-]{4,}\.[\w-]+\.[\w-]*"), MASK),
    (re.compile(r"(?i)\b(bearer|basic|digest)\s+[\w.~+/=-]{6,}"), rf"\1 {MASK}"),
    # The password in a URL (RFC 3986, 3.2.1).
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), rf"\1:{MASK}@"),
    (re.compile(r"(?i)\b((?:set-)?cookie2?[\"']?:\s*).+"), rf"\1{MASK}"),
    (re.compile(rf"(?i)({_OPTION}\s+)(?:\"[^\"]*\"|'[^']*'|[^\s-]\S*)"), rf"\1{MASK}"),
    (re.compile(rf"(?i)((?:{_NAME}|authorization)s?[\"'\\]*\s*[:=]\s*[\"'\\]*)[^\s\"'\\&,;]+"), rf"\1{MASK}"),
)


class Redaction:
    """Masks the secrets of `settings`, the contents of private `keys` (PEM), and whatever looks like a secret."""

    def __init__(self, settings: Settings, keys: Iterable[bytes] = ()) -> None:
        described = variables()
        known = set(settings.secrets.values())
        public = {text for name, text in settings.items() if name in described and not described[name].secret}
        # An unknown variable may be one of the user's own secrets, except for those that Docker Compose reads itself.
        unknown = {text for name, text in settings.items() if name not in described and not name.startswith(_COMPOSE)}
        known |= {text for text in unknown - public if len(text) >= _SHORTEST_UNKNOWN}
        forms = {form for text in known if len(text) >= _PART_OF_TEXT for form in _forms(text)}
        forms.update(form for key in keys for form in _key_forms(key))
        # Longest first, so that no part of a longer secret remains readable.
        self._parts = sorted(forms, key=len, reverse=True)
        short = [re.escape(text) for text in known if _SHORTEST <= len(text) < _PART_OF_TEXT]
        self._short = re.compile(rf"(?<!\w)(?:{'|'.join(short)})(?!\w)") if short else None
        self._public = {name for name, variable in described.items() if not variable.secret}

    def text(self, text: str) -> str:
        """`text` without secrets."""
        for part in self._parts:
            text = text.replace(part, MASK)
        if self._short:
            text = self._short.sub(MASK, text)
        for pattern, instead in _TEXTS:
            text = pattern.sub(instead, text)
        return text

    def data(self, value: Any) -> Any:
        """A JSON value without secrets: also those in variables of a container, labels, and fields named as one."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | tuple):
            words = pairwise([None, *value])
            return [MASK if _is_option_value(before, item) else self.data(item) for before, item in words]
        if isinstance(value, dict):
            return {self.text(str(key)): self._field(str(key), item) for key, item in value.items()}
        return value

    def _field(self, name: str, value: Any) -> Any:
        if name == "Env" and isinstance(value, list):
            return [self._variable(str(item)) for item in value]
        if name.lower().endswith("labels") and isinstance(value, dict):
            return {self.text(str(label)): self._label(str(label), text) for label, text in value.items()}
        if name.lower().endswith("labels") and isinstance(value, list):
            return [self._pair(str(item)) for item in value]
        # A list is of references: to the secrets of a service, by name.
        if _SECRET_FIELD.search(name) and not isinstance(value, list):
            return _masked(value)
        return self.data(value)

    def _variable(self, assignment: str) -> str:
        """Most variables of containers have other names than settings, and users add some: only known ones are kept."""
        name, separator, value = assignment.partition("=")
        return f"{self.text(name)}{separator}{self.text(value) if name in self._public or not value else MASK}"

    def _pair(self, label: str) -> str:
        """A label as the engine's own information has it: `name=value`."""
        name, separator, value = label.partition("=")
        return f"{self.text(name)}{separator}{self._label(name, value)}"

    def _label(self, name: str, value: Any) -> Any:
        """Users put passwords into labels, such as those of a proxy."""
        return self.data(value) if name.startswith((OUR_LABELS, STACK_LABELS)) else MASK


def _is_option_value(before: Any, value: Any) -> bool:
    """Whether `value` is the secret of the option `before` in the arguments of a command."""
    both = isinstance(before, str) and isinstance(value, str)
    return both and bool(re.fullmatch(_OPTION, before, re.I)) and not value.startswith("-")


def _masked(value: Any) -> Any:
    """`value` with every text in it masked."""
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return MASK if isinstance(value, str) and value else value


def _forms(secret: str) -> Iterator[str]:
    """How programs print it: as it is, in a URL, in JSON, and encoded in base64 (RFC 4648)."""
    yield secret
    yield quote(secret)
    yield quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield from _encoded(secret.encode())


def _key_forms(key: bytes) -> Iterator[str]:
    """The lines of a file with a private key, and the whole of it, encoded and as one line."""
    # A journal of the rotation has them as JSON.
    text = key.decode(errors="replace").replace("\\n", "\n")
    for block in re.findall(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(.*?)-----END", text, re.S):
        yield from (line for line in block.split() if len(line) >= _KEY_LINE)
        yield "".join(block.split())
    yield from _encoded(key)


def _encoded(data: bytes) -> Iterator[str]:
    """In base64, without the end that depends on what follows, such as a line feed."""
    whole = data[: len(data) // 3 * 3]
    yield base64.b64encode(whole).decode()
    yield base64.urlsafe_b64encode(whole).decode()

"""The settings of a clone: those of a backup under another domain, without what belongs to the original alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from openbalena.base.errors import OperationError
from openbalena.pki import store, tokens
from openbalena.settings.variables import variables

# Settings that let somebody into the original, are certified for its domain, or were made from its CA, and the
# directory of that CA, which may be on this machine. The role in the database belongs to a token, its password.
_FOREIGN = (
    *store.CUSTOM_CERTIFICATE_VARIABLES,
    *("API_TOKENAUTH_JWKS", "VPN_OPENVPN_CA_CRT", "BALENA_DEVICE_UUID", "TUNNEL_TOKEN", "PKI_DIR", "DB_USER"),
    *tokens.PREVIOUS.values(),
)
# Those of them that the user set, and what is without them.
_MISSED = {
    "HAPROXY_CRT": "the clone's own CA issues its certificate",
    "TUNNEL_TOKEN": "with it, Cloudflare would send the original's clients to the clone",
}
# What may be outside of a deployment: the setting that says so, those that say where, and what a clone would do there.
_OUTSIDE = {
    "EXTERNAL_POSTGRES": (
        ("EXTERNAL_POSTGRES_HOST", "EXTERNAL_POSTGRES_PORT", "EXTERNAL_POSTGRES_DATABASE"),
        "write to the original's database",
    ),
    "EXTERNAL_S3": (("EXTERNAL_S3_ENDPOINT",), "write to the original's object store, and delete there"),
    "USE_NFS": (("NFS_HOST", "NFS_PATH"), "use the original's volumes"),
}


@dataclass(frozen=True)
class CloneSettings:
    """`changes` are the values that are not those of the backup, "" for one that is not set. `warnings` are for the
    user; none has a secret."""

    changes: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def clone_settings(saved: Mapping[str, str], here: Mapping[str, str], domain: str) -> CloneSettings:
    """What the clone `domain` changes in `saved`, the settings of the backup; those in `here`, even empty, come first.

    Raises OperationError, with every reason, if it would use what the original uses.
    """
    foreign = {name: "" for name in (*_FOREIGN, *_tokens()) if saved.get(name)}
    # The api does not change the e-mail address of a superuser that exists (open-balena-api, init.ts).
    user = saved.get("SUPERUSER_EMAIL") or f"admin@{saved['DNS_TLD']}"
    changes = {**foreign, "SUPERUSER_EMAIL": user, **here, "DNS_TLD": domain}
    if problems := list(_shared({**saved, **changes}, saved)):
        raise OperationError("nothing was restored:\n  " + "\n  ".join(problems))
    values = {**saved, **changes}
    changes |= tokens.missing_tokens(values) if values.get("TOKENS_MODE") != "user" else {}
    return CloneSettings(changes, tuple(_warnings(values, saved)))


def names_domain(text: str, domain: str) -> bool:
    """Whether `text` has `domain` or a name in it."""
    return re.search(rf"(?<![\w-]){re.escape(domain)}(?![\w-]|\.\w)", text) is not None


def _tokens() -> list[str]:
    return [variable.name for variable in variables().values() if variable.token]


def _shared(values: Mapping[str, str], saved: Mapping[str, str]) -> Iterator[str]:
    for switch, (names, deed) in _OUTSIDE.items():
        if values.get(switch) != "true" or saved.get(switch) != "true":
            continue
        if all(_value(values, name) == _value(saved, name) for name in names):
            yield (
                f"{switch} is true in the backup, and the clone would {deed}: set {' or '.join(names)} to another "
                f"place in .env here, or {switch}=false"
            )


def _value(values: Mapping[str, str], name: str) -> str:
    return values.get(name) or variables()[name].default


def _warnings(values: Mapping[str, str], saved: Mapping[str, str]) -> Iterator[str]:
    for name, without in _MISSED.items():
        if saved.get(name) and not values.get(name):
            yield f"{name} of the backup is not used: {without}; set one for {values['DNS_TLD']} in .env if it needs it"
    original = saved["DNS_TLD"]
    for name, value in sorted(values.items()):
        if name != "SUPERUSER_EMAIL" and not names_domain(value, values["DNS_TLD"]) and names_domain(value, original):
            yield f"{name} names {original}: change it in .env if the clone should not use that"

"""A deployment's settings and PKI in the swarm: one secret, from which other machines can fetch them.

It does not have the label of the stack's secrets, with which `docker stack rm` would remove it: if the volumes are kept
and the machine that created the CA and the tokens is lost, it is the only copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import (
    SETTINGS_CA_LABEL,
    SETTINGS_IMAGE_LABEL,
    SETTINGS_LATER_LABEL,
    SETTINGS_NODE_LABEL,
    SETTINGS_ORDER_LABEL,
    SETTINGS_OWNER_LABEL,
    SETTINGS_STACK_LABEL,
    SETTINGS_TOKENS_LABEL,
    object_name,
)
from openbalena.docker.object_labels import replace_labels


@dataclass(frozen=True)
class StoredSettings:
    """One stored version. `ca`, `tokens` and `later` are its fingerprints (pki.archive), `order` its number.

    `node` (an id) had `image`, with which the secret can be read, when the stack was removed; both are empty before.
    """

    id: str
    name: str
    order: int
    owner: str
    ca: str
    tokens: str
    node: str = ""
    image: str = ""
    later: str = ""


def latest(client: Any, stack: str) -> StoredSettings | None:
    """The latest stored version; None if `stack` was never deployed on this swarm, or its data was removed.

    Versions are ordered by their count, since a time is that of the leader at that moment, whose clock may be wrong.
    """
    secrets = [
        secret.attrs
        for secret in client.secrets.list(filters={"label": [SETTINGS_CA_LABEL, f"{SETTINGS_STACK_LABEL}={stack}"]})
    ]
    # Of those with equal counts, the last is the one without its own count.
    return max(reversed(list(_counted(secrets))), key=lambda item: item.order, default=None)


def stacks(client: Any) -> list[str]:
    """The stacks whose settings are in this swarm."""
    secrets = client.secrets.list(filters={"label": SETTINGS_CA_LABEL})
    return sorted({secret.attrs["Spec"]["Labels"].get(SETTINGS_STACK_LABEL, "") for secret in secrets})


def require_compatible(found: StoredSettings | None, marks: Mapping[str, str], base: str) -> None:
    """Raise OperationError unless settings with the fingerprints `marks` continue from those in the swarm."""
    if found is not None and (differing := difference(found, marks, base)):
        raise OperationError(
            f"nothing was deployed: {found.owner} deployed this stack with {differing}; deploying yours would cut off "
            "its devices, users and data: fetch its settings with ./open-balena.sh config --from-cluster (or start "
            "over without that data: swarm-down --volumes)"
        )


def difference(found: StoredSettings, marks: Mapping[str, str], base: str) -> str:
    """What of the settings in the swarm those with the fingerprints `marks` do not continue from, "" if they do.

    `base` has the `tokens` fingerprint and, on a second line, the `later` one of what this machine stored or fetched
    last: tokens that have changed here since then may be deployed, but changes made elsewhere must not be undone. The
    same applies to a CA rotation, whose phase is in the fingerprint; in its second phase another CA issues, and the
    swarm has the fingerprint of the previous one.
    """
    base_tokens, later = [*base.split("\n"), ""][:2]
    # Earlier versions of this tool did not store a fingerprint of later tokens.
    known = found.later in ("", marks["later"], later)
    if known and found.ca == marks["ca"] and found.tokens in (marks["tokens"], base_tokens):
        return ""
    if known and found.tokens == base_tokens and found.ca == marks["former"]:
        return ""
    if found.ca != marks["ca"]:
        return "a different CA and different tokens"
    return "different tokens (or in another phase of a CA rotation), changed since the last deploy from this machine"


def save(client: Any, stack: str, content: bytes, marks: Mapping[str, str], owner: str) -> None:
    """Store `content` as the latest version. Older ones are kept until a deploy succeeds (deploy.remove_unused)."""
    name = object_name(stack, "settings", content)
    current = latest(client, stack)
    known = {
        SETTINGS_CA_LABEL: marks["ca"],
        SETTINGS_TOKENS_LABEL: marks["tokens"],
        SETTINGS_LATER_LABEL: marks["later"],
    }
    if current is not None and current.name == name:
        if (current.ca, current.tokens, current.later) != tuple(known.values()):
            # Another version of this tool has computed other fingerprints of the same content.
            _relabel(client, current, known)
        return
    # An older version becomes the latest again after a failed deploy; no service uses it.
    for secret in client.secrets.list(filters={"name": name}):
        if secret.name == name:
            secret.remove()
    order = str(current.order + 1 if current else 1)
    labels = {SETTINGS_STACK_LABEL: stack, **known, SETTINGS_OWNER_LABEL: owner, SETTINGS_ORDER_LABEL: order}
    client.secrets.create(name=name, data=content, labels=labels)


def record_reader(client: Any, found: StoredSettings, node: str, image: str) -> None:
    """Record with `found` how to read it once the stack is removed. Raises docker.errors.APIError as _relabel does."""
    _relabel(client, found, {SETTINGS_NODE_LABEL: node, SETTINGS_IMAGE_LABEL: image})


def _relabel(client: Any, found: StoredSettings, labels: Mapping[str, str]) -> None:
    """Add `labels` to those of `found`. Raises docker.errors.APIError as replace_labels does."""
    secret = client.api.inspect_secret(found.id)
    replace_labels(client.api, "secrets", secret, {**secret["Spec"]["Labels"], **labels})


def forget(client: Any, stack: str) -> None:
    """Remove every version, after the data that needed them was removed."""
    for secret in client.secrets.list(filters={"label": [SETTINGS_CA_LABEL, f"{SETTINGS_STACK_LABEL}={stack}"]}):
        secret.remove()


def _counted(found: Iterable[Mapping[str, Any]]) -> Iterator[StoredSettings]:
    """The versions in the order of their creation, each with its count.

    One without a count (from an earlier version of this tool) gets that of its predecessor, by the swarm's index of
    changes (Engine API, ObjectVersion), which does not depend on clocks. The index is that of a secret's last change;
    only the latest secret is ever changed.
    """
    highest = 0
    for attributes in sorted(found, key=lambda each: int(each["Version"]["Index"])):
        order = (attributes["Spec"].get("Labels") or {}).get(SETTINGS_ORDER_LABEL, "")
        item = _stored(attributes, int(order) if order.isdecimal() else highest)
        highest = max(highest, item.order)
        yield item


def _stored(attributes: Mapping[str, Any], order: int) -> StoredSettings:
    spec = attributes["Spec"]
    labels = spec.get("Labels") or {}
    return StoredSettings(
        attributes["ID"],
        spec["Name"],
        order,
        labels.get(SETTINGS_OWNER_LABEL, "someone"),
        labels.get(SETTINGS_CA_LABEL, ""),
        labels.get(SETTINGS_TOKENS_LABEL, ""),
        labels.get(SETTINGS_NODE_LABEL, ""),
        labels.get(SETTINGS_IMAGE_LABEL, ""),
        labels.get(SETTINGS_LATER_LABEL, ""),
    )

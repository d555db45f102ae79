"""A deployment's settings and PKI in the swarm: one secret, from which any other machine can get them back.

It has not the label of the stack's secrets, by which `docker stack rm` removes them: where the volumes stay and the
machine that made the CA and the tokens is lost, it is their only copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from openbalena.cluster.object_labels import replace_labels
from openbalena.errors import OperationError
from openbalena.stack.content import object_name

_CA, _TOKENS, _OWNER = "openbalena.settings.ca", "openbalena.settings.tokens", "openbalena.settings.owner"
_LATER, _ORDER = "openbalena.settings.later", "openbalena.settings.order"
_STACK, _NODE, _IMAGE = "openbalena.settings.stack", "openbalena.settings.node", "openbalena.settings.image"


@dataclass(frozen=True)
class Stored:
    """One stored version. `ca`, `tokens` and `later` are secrets.bundle.marks of it; `order` counts the versions.

    `node` (its id) had `image`, with which the secret can be read, when the stack was taken down; empty before that.
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


def newest(client: Any, stack: str) -> Stored | None:
    """The version that was stored last, if `stack` runs on this swarm or has left its volumes.

    By their count, since a time is that of whichever manager led then, and its clock may have been wrong.
    """
    found = [secret.attrs for secret in client.secrets.list(filters={"label": [_CA, f"{_STACK}={stack}"]})]
    # The last of those with the same count is the one without.
    return max(reversed(list(_counted(found))), key=lambda item: item.order, default=None)


def stacks(client: Any) -> list[str]:
    """The stacks whose settings are in this swarm."""
    return sorted({s.attrs["Spec"]["Labels"].get(_STACK, "") for s in client.secrets.list(filters={"label": _CA})})


def check(found: Stored | None, marks: Mapping[str, str], base: str) -> None:
    """Raise OperationError unless a deploy of settings with `marks` goes on from what the swarm has.

    `base` has the `tokens` mark and, on a second line, the `later` one of what this machine stored or fetched last:
    tokens that changed here since may be deployed, tokens that changed elsewhere may not be undone. The same with the
    CA's rotation, whose phase is in the mark; in its second phase another CA issues, and the swarm knows the former.
    """
    if found is None:
        return
    noted, later = [*base.split("\n"), ""][:2]
    # A version of this tool that knew no later tokens stored no mark of them.
    known = found.later in ("", marks["later"], later)
    if known and found.ca == marks["ca"] and found.tokens in (marks["tokens"], noted):
        return
    if known and found.tokens == noted and found.ca == marks["former"]:
        return
    what = (
        "with another CA and other tokens than those here"
        if found.ca != marks["ca"]
        else "with other tokens than those here (or another phase of the CA's rotation), changed since this machine's "
        "last deploy"
    )
    raise OperationError(
        f"nothing was deployed: {found.owner} has deployed this stack {what}, and these would cut off its devices, "
        "users and data: get its settings with ./open-balena.sh config --from-cluster (to begin "
        "anew without that data: swarm-down --volumes)"
    )


def save(client: Any, stack: str, content: bytes, marks: Mapping[str, str], owner: str) -> None:
    """Make `content` the newest version. Older ones stay until a deploy has succeeded (deploy.remove_unused)."""
    name = object_name(stack, "settings", content)
    current = newest(client, stack)
    known = {_CA: marks["ca"], _TOKENS: marks["tokens"], _LATER: marks["later"]}
    if current is not None and current.name == name:
        if (current.ca, current.tokens, current.later) != tuple(known.values()):
            # Of another version of this tool, which made other marks of the same.
            _relabel(client, current, known)
        return
    # An older version that is the newest again, after a deploy that failed: no service uses it.
    for secret in client.secrets.list(filters={"name": name}):
        if secret.name == name:
            secret.remove()
    order = str(current.order + 1 if current else 1)
    labels = {_STACK: stack, **known, _OWNER: owner, _ORDER: order}
    client.secrets.create(name=name, data=content, labels=labels)


def note_reader(client: Any, found: Stored, node: str, image: str) -> None:
    """Keep with `found` where it can be read once the stack is down. Raises docker.errors.APIError as _relabel does."""
    _relabel(client, found, {_NODE: node, _IMAGE: image})


def _relabel(client: Any, found: Stored, labels: Mapping[str, str]) -> None:
    """Add `labels` to those of `found`. Raises docker.errors.APIError as replace_labels does."""
    secret = client.api.inspect_secret(found.id)
    replace_labels(client.api, "secrets", secret, {**secret["Spec"]["Labels"], **labels})


def forget(client: Any, stack: str) -> None:
    """Remove every version: the data that needed them is gone."""
    for secret in client.secrets.list(filters={"label": [_CA, f"{_STACK}={stack}"]}):
        secret.remove()


def _counted(found: Iterable[Mapping[str, Any]]) -> Iterator[Stored]:
    """The versions as the swarm made them, each with its count.

    One without (of a version of this program that wrote none) comes next after what was there when it was made: the
    swarm's index of changes says so (Engine API, ObjectVersion), which grows with each, whatever the clocks say. It is
    that of a secret's last change; only the newest is ever changed.
    """
    highest = 0
    for attributes in sorted(found, key=lambda each: int(each["Version"]["Index"])):
        order = (attributes["Spec"].get("Labels") or {}).get(_ORDER, "")
        item = _stored(attributes, int(order) if order.isdecimal() else highest)
        highest = max(highest, item.order)
        yield item


def _stored(attributes: Mapping[str, Any], order: int) -> Stored:
    spec = attributes["Spec"]
    labels = spec.get("Labels") or {}
    return Stored(
        attributes["ID"],
        spec["Name"],
        order,
        labels.get(_OWNER, "someone"),
        labels.get(_CA, ""),
        labels.get(_TOKENS, ""),
        labels.get(_NODE, ""),
        labels.get(_IMAGE, ""),
        labels.get(_LATER, ""),
    )

"""The labels of a swarm's secrets and configs: the only part of them that the Engine lets a client change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.client import CONFLICT
from typing import Any, Literal

from openbalena.docker.retry import retry_on_conflict


def replace_labels(
    api: Any, kind: Literal["secrets", "configs"], current: Mapping[str, Any], labels: Mapping[str, str]
) -> None:
    """Replace all labels of an object by `labels`; `api` is a docker.APIClient, `current` the object as it returns it.

    Raises docker.errors.APIError, also if the object was changed after `current` was read (Engine API, SecretUpdate and
    ConfigUpdate: an update names the version it was made from).
    """
    # The SDK has no method for either endpoint.
    response = api._post_json(
        api._url(f"/{kind}/{{0}}/update", current["ID"]),
        data={**current["Spec"], "Labels": dict(labels)},
        params={"version": current["Version"]["Index"]},
    )
    api._raise_for_status(response)


def find_config(client: Any, name: str) -> dict[str, Any] | None:
    """The config with exactly that name, as the Engine API returns it: its filter also finds longer names."""
    configs = client.api.configs(filters={"name": name})
    return next((config for config in configs if config["Spec"]["Name"] == name), None)


def find_or_create(client: Any, name: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The config with that name, as the Engine API returns it; if there is none, it is created with `labels`.

    Raises docker.errors.APIError. Another command may create it at the same time: without `labels` that one is
    returned, with `labels` this is an error, since these were made without knowing the other's.
    """
    import docker

    if found := find_config(client, name):
        return found
    try:
        # A config must not be empty.
        client.configs.create(name=name, data=b"see this config's labels\n", labels=labels)
    except docker.errors.APIError as error:
        if labels or error.status_code != CONFLICT:
            raise
    created: dict[str, Any] = client.configs.get(name).attrs
    return created


def change_labels(client: Any, name: str, change: Callable[[Mapping[str, str]], Mapping[str, str]]) -> None:
    """Replace the labels of the config `name`, which is created if there is none, by what `change` makes of them.

    `change` is called again with the present labels if another command has changed them meanwhile. Raises
    docker.errors.APIError.
    """

    def attempt() -> None:
        config = find_or_create(client, name)
        replace_labels(client.api, "configs", config, change(config["Spec"].get("Labels") or {}))

    retry_on_conflict(attempt)

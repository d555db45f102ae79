"""The labels of a swarm's secrets and configs: the only part of them that the Engine lets a client change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal


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


def store_labels(client: Any, name: str, labels: Mapping[str, str]) -> None:
    """Keep `labels` in the swarm as those of the config `name`, which is created if there is none.

    Raises docker.errors.APIError as `replace_labels` does.
    """
    config = find_config(client, name)
    if config is None:
        # A config must not be empty.
        client.configs.create(name=name, data=b"see this config's labels\n", labels=labels)
        return
    replace_labels(client.api, "configs", config, labels)

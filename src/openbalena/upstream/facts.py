"""A service's configuration as flat facts: a name such as `environment.DB_HOST`, and its value as text."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Facts = dict[str, str]

# Docker's defaults (`docker run`, `docker service create`).
_STOP = {"stop_grace_period": "10s"}
_CHECK = {"interval": "30s", "timeout": "30s", "retries": "3", "start_period": "0s"}
# Not compared here: openBalena's file has no profiles, and checkout.py compares builds by their content.
_LEFT_OUT = {"profiles", "build"}


def facts(service: Mapping[str, Any]) -> Facts:
    """The facts of a service in normal form, sorted by name, with Docker's defaults but not those of its image."""
    result = dict(_STOP)
    for key, value in service.items():
        if key not in _LEFT_OUT and not key.startswith("x-"):
            result |= _FORMS.get(key, _nested)(key, value)
    return dict(sorted(result.items()))


def differences(before: Facts, after: Facts) -> dict[str, tuple[str | None, str | None]]:
    """The facts that differ, by name, as (before, after); None for a missing one."""
    names = sorted({*before, *after})
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _nested(name: str, value: Any) -> Facts:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {key: text for part in value for key, text in _nested(f"{name}.{part}", value[part]).items()}
    if isinstance(value, list):
        return {f"{name}.{item}": "yes" for item in value}
    return {name: _text(value)}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _words(name: str, value: Iterable[Any] | None) -> Facts:
    """A command; an inline script as its digest, as it is others' text and too long for a fact."""
    text = " ".join(map(str, value or []))
    return {name: f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" if "\n" in text else text} if text else {}


def _image(name: str, value: str) -> Facts:
    """Without its digest: each side pins its own."""
    return {name: value.partition("@")[0]}


def _healthcheck(name: str, value: Mapping[str, Any]) -> Facts:
    if value.get("disable"):
        return {f"{name}.test": "NONE"}
    written = _nested(name, {key: item for key, item in value.items() if key != "test"})
    return {**_nested(name, _CHECK), **written, **_words(f"{name}.test", value.get("test"))}


def _mounts(kind: str, value: Iterable[Mapping[str, Any]]) -> Facts:
    """Volumes, secrets and configs, which the image sees alike: as files, some of them read-only."""
    mounts = {}
    for mount in value:
        parts = [str(mount.get("type") or kind.removesuffix("s")), str(mount.get("source", ""))]
        parts += ["read-only"] * bool(mount.get("read_only")) + ([f"{mount['mode']:04o}"] if "mode" in mount else [])
        mounts[f"mounts.{mount['target']}"] = " ".join(part for part in parts if part)
    return mounts


def _ports(name: str, value: Iterable[Mapping[str, Any]]) -> Facts:
    return {f"{name}.{port['target']}/{port['protocol']}": str(port["published"]) for port in value}


def _devices(name: str, value: Iterable[Mapping[str, Any]]) -> Facts:
    return {f"{name}.{device['target']}": f"{device['source']} {device['permissions']}" for device in value}


def _networks(_: str, value: Mapping[str, Mapping[str, Any] | None]) -> Facts:
    aliases = [alias for network in value.values() for alias in (network or {}).get("aliases", [])]
    return _nested("aliases", aliases)


def _depends_on(name: str, value: Mapping[str, Any]) -> Facts:
    return _nested(name, list(value))


def _deploy(name: str, value: Mapping[str, Any]) -> Facts:
    return _nested(f"{name}.resources", value.get("resources"))


_FORMS: dict[str, Callable[[str, Any], Facts]] = {
    **dict.fromkeys(("command", "entrypoint"), _words),
    "image": _image,
    "healthcheck": _healthcheck,
    **dict.fromkeys(("volumes", "secrets", "configs"), _mounts),
    "ports": _ports,
    "devices": _devices,
    "networks": _networks,
    "depends_on": _depends_on,
    "deploy": _deploy,
}

"""docker-compose itself, asked what it makes of a project, and both sides in a form that can be compared."""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATIONS = {
    "interval",
    "timeout",
    "start_period",
    "start_interval",
    "stop_grace_period",
    "delay",
    "monitor",
    "window",
}
SECTIONS = ("services", "networks", "volumes", "secrets", "configs")
_SIZES = {"memory", "mem_limit", "mem_reservation", "memswap_limit", "shm_size", "size"}


def config(program: Path, files: Sequence[Path], environment: Mapping[str, str]) -> dict[str, Any] | str:
    """What `docker compose config` says of the project with every profile, or its error."""
    arguments = [argument for file in files for argument in ("-f", str(file))]
    done = subprocess.run(
        [program, *arguments, "--profile", "*", "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "HOME": "/root", "PWD": str(files[0].parent), **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return _unescaped(json.loads(done.stdout)) if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def _unescaped(value: Any) -> Any:
    """`config` prints values as a Compose file has them: a dollar sign is `$$` there."""
    if isinstance(value, dict):
        return {key: _unescaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unescaped(item) for item in value]
    return value.replace("$$", "$") if isinstance(value, str) else value


def comparable(model: Mapping[str, Any], project: str) -> dict[str, Any]:
    """A project's model without what differs in form only."""
    result = {section: dict(model.get(section) or {}) for section in SECTIONS}
    for section, items in result.items():
        for name, value in items.items():
            items[name] = _service(value) if section == "services" else _resource(_value(value, ""), name, project)
    return {section: items for section, items in result.items() if items}


def _resource(value: Any, name: str, project: str) -> dict[str, Any]:
    kept = dict(value or {})
    if kept.get("name") in (f"{project}_{name}", name):
        del kept["name"]
    return kept


def _service(service: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = _value(service, "")
    for key in ("secrets", "configs"):
        for reference in kept.get(key, ()):
            if reference.get("target") in (f"/run/secrets/{reference['source']}", f"/{reference['source']}"):
                del reference["target"]
            if str(reference.get("mode", "")).startswith("0"):
                reference["mode"] = str(int(reference["mode"], 8))
    if "devices" in kept:
        kept["devices"] = [_device(device) for device in kept["devices"]]
    if "extra_hosts" in kept:
        kept["extra_hosts"] = sorted(kept["extra_hosts"])
    if "provider" in kept:
        options = kept["provider"].get("options", {})
        kept["provider"]["options"] = {name: _listed(value) for name, value in options.items()}
    return kept


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _device(device: Any) -> str:
    if isinstance(device, str):
        return device
    return ":".join([device["source"], device.get("target", device["source"]), device.get("permissions", "rwm")])


def _value(value: Any, key: str) -> Any:
    """Sizes as bytes, durations as seconds, numbers as text; empty things and `x-` fields left out."""
    if isinstance(value, Mapping):
        items = {name: _value(item, name) for name, item in value.items() if not name.startswith("x-")}
        if key in ("environment", "args", "networks", "driver_opts", "labels", "options"):
            return {name: "" if item is None else item for name, item in items.items()}
        return {name: item for name, item in items.items() if item not in (None, "", [], {}, False)}
    if isinstance(value, list):
        return [_value(item, "") for item in value]
    if key in _DURATIONS and isinstance(value, str) and _DURATION.match(value):
        return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(value))
    if key in _SIZES and value is not None:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", str(value).lower())
        return int(float(match[1]) * 1024 ** " kmgt".index(match[2] or " ")) if match else value
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)):
        return f"{value:g}" if isinstance(value, float) else str(value)
    try:
        return f"{float(value):g}" if key in ("cpus", "max_failure_ratio") else value
    except ValueError:
        return value

"""The list of requests in engine_exchanges.yml, asked of an engine, and what of its answers is compared.

    .venv.dev/bin/python tests/shared/engine_exchanges.py unix:///var/run/docker.sock

records the answers of a manager of a swarm in engine_answers.json. Compared are the status, how many entries a list
has, the words of a refusal and the shape: which keys, with values of which type.
"""

import functools
import json
import re
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import docker
import yaml

HERE = Path(__file__).parent
ANSWERS = HERE / "engine_answers.json"
# Seconds that a task may take to appear, and a network to get its addresses.
_LONGEST = 30.0
_IDS = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-z]{25})\b")
# The lists of which the exchanges themselves made every entry.
_COUNTED = "filters"


def exchanges() -> list[dict[str, Any]]:
    """The requests, in order."""
    listed: list[dict[str, Any]] = yaml.safe_load((HERE / "engine_exchanges.yml").read_text(encoding="utf-8"))
    return listed


def recorded() -> dict[str, Any]:
    """What a real engine answered, by the name of the exchange."""
    answers: dict[str, Any] = json.loads(ANSWERS.read_text(encoding="utf-8"))
    return answers


def ask_all(api: docker.APIClient) -> dict[str, Any]:
    """What the engine behind `api` answers to each, by the name of the exchange."""
    kept: dict[str, Any] = {}
    return {exchange["name"]: _ask(api, exchange, kept) for exchange in exchanges()}


def _ask(api: docker.APIClient, exchange: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    method, path = _filled(exchange["ask"], kept).split(" ", 1)
    end = time.monotonic() + _LONGEST
    while True:
        url = f"{api.base_url}/v{api.api_version}{quote(path, safe='/?=&:')}"
        answer = api.request(method, url, json=_filled(exchange.get("body"), kept), timeout=_LONGEST)
        body: Any = json.loads(answer.content) if answer.content else None
        if _reached(exchange.get("until"), body) or time.monotonic() > end:
            break
        time.sleep(0.1)
    if exchange.get("part"):
        body = body[exchange["part"]]
    for name, place in exchange.get("keep", {}).items():
        kept[name] = _at(body, place)
    found: dict[str, Any] = {"status": answer.status_code}
    if answer.status_code >= 400:
        found["message"] = _IDS.sub("ID", body["message"])
        return found
    if isinstance(body, list) and _COUNTED in path:
        found["count"] = len(body)
    return {**found, "shape": shape(body)}


def _reached(until: str | None, body: Any) -> bool:
    if until == "placed":
        return bool(body) and "Err" in body[0]["Status"]
    if until == "allocated":  # a moment after it was created; the fake engine's networks have no addresses
        return bool(body) and ("IPAM" not in body[0] or bool(body[0]["IPAM"]["Config"]))
    return until is None or not body


def _filled(value: Any, kept: dict[str, Any]) -> Any:
    """`value` with its `${name}` replaced; one that is nothing else keeps its type."""
    if isinstance(value, dict):
        return {key: _filled(item, kept) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, kept) for item in value]
    if not isinstance(value, str):
        return value
    if whole := re.fullmatch(r"\$\{(\w+)\}", value):
        return kept[whole[1]]
    return re.sub(r"\$\{(\w+)\}", lambda match: str(kept[match[1]]), value)


def _at(value: Any, place: str) -> Any:
    for key in place.split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def shape(value: Any, name: str = "") -> Any:
    """The keys and types of a JSON value; of a list those of all its entries. Which labels there are does not count."""
    if name == "Labels":
        return "labels"
    if isinstance(value, dict):
        return {key: shape(item, key) for key, item in sorted(value.items())}
    if not isinstance(value, list):
        return type(value).__name__
    return [functools.reduce(_merged, map(shape, value))] if value else []


def _merged(one: Any, other: Any) -> Any:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return one
    return {key: _merged(one.get(key, item), item) for key, item in {**one, **other}.items()}


if __name__ == "__main__":
    answers = ask_all(docker.APIClient(base_url=sys.argv[1], version="auto"))
    ANSWERS.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

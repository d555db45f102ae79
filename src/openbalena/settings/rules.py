"""Validation of the settings: each value by its type, then combinations of values."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from openbalena.base.errors import Problem
from openbalena.settings.types import TYPES, in_bytes, in_seconds
from openbalena.settings.variables import variables

# MiB. open-balena-api 49.0.12, measured in November 2026: 350 to 410 per worker, 105 for the process that starts them.
# docker-compose.yml reserves _RESERVED, and the engine refuses a limit below the reservation.
_WORKER, _BESIDE_WORKERS, _RESERVED = 512, 256, 1024

Rule = Callable[[Mapping[str, str]], Iterator[Problem]]


def setting_problems(values: Mapping[str, str], sources: Mapping[str, str], file: Path) -> list[Problem]:
    """A problem for each invalid value, with the variable's name as its key: where it was set, what was expected.

    A value is quoted only if the variable is not a secret. Variables that this project does not use are not checked.
    """
    problems = [
        Problem(what, key=name)
        for name, variable in variables().items()
        if name in sources and values.get(name) and not variable.unused and (what := malformed(name, values[name]))
    ]
    problems += [problem for rule in RULES for problem in rule(values)]
    return [replace(each, what=f"{sources.get(each.key) or file}: {each.what}") for each in problems]


def malformed(name: str, value: str) -> str:
    """Why `value` is not valid for `name`; empty if it is."""
    variable = variables()[name]
    expected, matches = TYPES[variable.type]
    if matches(value):
        return ""
    shown = "this value" if variable.secret else repr(value)
    return f"{name} cannot be {shown}: expected {expected}"


def _one_dns_provider(values: Mapping[str, str]) -> Iterator[Problem]:
    if values.get("CLOUDFLARE_API_TOKEN") and values.get("GANDI_API_TOKEN"):
        what = "GANDI_API_TOKEN and CLOUDFLARE_API_TOKEN are both set: expected one DNS provider"
        yield Problem(what, "remove one", "GANDI_API_TOKEN")


def _acme(values: Mapping[str, str]) -> Iterator[Problem]:
    tokens = [name for name in ("CLOUDFLARE_API_TOKEN", "GANDI_API_TOKEN") if values.get(name)]
    if values.get("ACME_EMAIL") and not tokens:
        what = "ACME_EMAIL is set without a DNS provider's token"
        yield Problem(what, "set CLOUDFLARE_API_TOKEN or GANDI_API_TOKEN", "ACME_EMAIL")
    if tokens and not values.get("ACME_EMAIL"):
        hint = "set the account's e-mail address, or remove the token"
        yield Problem(f"{tokens[0]} is set without ACME_EMAIL", hint, tokens[0])


def _required(values: Mapping[str, str]) -> Iterator[Problem]:
    for name, variable in variables().items():
        switch = variable.when
        # `values` has the default if nothing is set.
        if (
            variable.required
            and switch
            and values.get(switch) == "true"
            and values.get(name) in (None, variable.default)
        ):
            yield Problem(f"{switch} is true without {name}", f"set {name}, or {switch}=false", switch)


def _without_switch(values: Mapping[str, str]) -> Iterator[Problem]:
    """The internal database's and store's names and passwords are fixed, so any other value would only break them."""
    for name, variable in variables().items():
        if variable.when not in ("EXTERNAL_POSTGRES", "EXTERNAL_S3") or name == "EXTERNAL_S3_REGION":
            continue
        if values.get(variable.when) != "true" and values.get(name, "") not in ("", variable.default):
            hint = f"set {variable.when}=true, or remove {name}"
            yield Problem(f"{name} is set while {variable.when} is not true", hint, name)


def _own_certificate(values: Mapping[str, str]) -> Iterator[Problem]:
    for name, other in (("HAPROXY_CRT", "HAPROXY_KEY"), ("HAPROXY_KEY", "HAPROXY_CRT")):
        if values.get(name) and not values.get(other):
            yield Problem(f"{name} is set without {other}", f"set both, or remove {name}", name)
    if values.get("HAPROXY_CRT") and values.get("ACME_EMAIL"):
        # In a cluster cert-manager's certificate would replace it, and the next `config` would restore it.
        yield Problem(
            "HAPROXY_CRT (a custom certificate) and ACME_EMAIL (one from Let's Encrypt) are both set: expected one of "
            "them",
            "remove ACME_EMAIL and the DNS provider's token; to switch to ACME, then run ./open-balena.sh pki import "
            "--remove (in a cluster) or custom-pki --remove (on a single machine), and set them again",
            "HAPROXY_CRT",
        )


def _own_tokens(values: Mapping[str, str]) -> Iterator[Problem]:
    missing = [name for name, v in variables().items() if v.token and not v.new_only and not values.get(name)]
    if values.get("TOKENS_MODE") == "user" and missing:
        what = f"TOKENS_MODE is user, but these tokens are missing: {', '.join(missing)}"
        yield Problem(what, "set them, or TOKENS_MODE=auto", "TOKENS_MODE")


def _database_login(values: Mapping[str, str]) -> Iterator[Problem]:
    if bool(values.get("DB_PASSWORD")) != (values.get("DB_USER", "docker") != "docker"):
        yield Problem(
            "DB_USER and DB_PASSWORD do not match: expected openbalena_a (or _b, after a rotation) with its password, "
            "or neither",
            "restore both lines, or remove both if the database still has its image's user",
            "DB_USER",
        )


def _api_memory(values: Mapping[str, str]) -> Iterator[Problem]:
    workers, memory = values.get("API_WORKERS", "1"), values.get("API_MEMORY", "2G")
    if malformed("API_WORKERS", workers) or malformed("API_MEMORY", memory):
        return
    minimum = max(_RESERVED, int(workers) * _WORKER + _BESIDE_WORKERS)
    if in_bytes(memory) < minimum << 20:
        yield Problem(
            f"API_MEMORY={memory} is too low for API_WORKERS={workers}: expected at least {minimum}M ({_WORKER}M per "
            f"worker plus {_BESIDE_WORKERS}M, and not below {_RESERVED}M)",
            "raise API_MEMORY, or lower API_WORKERS",
            "API_WORKERS" if workers != "1" else "API_MEMORY",
        )


def _patience(values: Mapping[str, str]) -> Iterator[Problem]:
    """The health check must not kill a migration that the statement timeout allows."""
    limit, start_period = values.get("DB_STATEMENT_TIMEOUT", ""), values.get("API_START_PERIOD", "180s")
    if not limit or malformed("DB_STATEMENT_TIMEOUT", limit) or malformed("API_START_PERIOD", start_period):
        return
    if in_seconds(start_period) * 1000 < int(limit):
        yield Problem(
            f"API_START_PERIOD={start_period} is shorter than DB_STATEMENT_TIMEOUT={limit} (ms): the health check "
            "could kill a migration that is allowed to run",
            f"set API_START_PERIOD={-(-int(limit) // 1000)}s or more",
            "DB_STATEMENT_TIMEOUT",
        )


def _image_storage(values: Mapping[str, str]) -> Iterator[Problem]:
    names = ("IMAGE_STORAGE_ACCESS_KEY", "IMAGE_STORAGE_SECRET_KEY")
    for name, other in (names, names[::-1]):
        if values.get(name) and not values.get(other):
            what = f"{name} is set without {other}: the api would send no keys"
            yield Problem(what, f"set both, or remove {name}", name)


RULES: tuple[Rule, ...] = (
    _patience,
    _image_storage,
    _api_memory,
    _one_dns_provider,
    _acme,
    _required,
    _without_switch,
    _own_certificate,
    _own_tokens,
    _database_login,
)

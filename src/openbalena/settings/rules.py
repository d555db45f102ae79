"""Validation of the settings: each value by its type, then combinations of values."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from openbalena.settings.types import TYPES, in_bytes, in_seconds
from openbalena.settings.variables import variables

# MiB. open-balena-api 49.0.12, measured in November 2026: 350 to 410 per worker, 105 for the process that starts them.
# docker-compose.yml reserves _RESERVED, and the engine refuses a limit below the reservation.
_WORKER, _BESIDE_WORKERS, _RESERVED = 512, 256, 1024

Rule = Callable[[Mapping[str, str]], Iterator[tuple[str, str]]]


def setting_problems(values: Mapping[str, str], sources: Mapping[str, str], file: Path) -> list[str]:
    """A message for each invalid value: where it was set, its name, what was expected, what to do.

    A value is quoted only if the variable is not a secret. Variables that this project does not use are not checked.
    """
    errors = [
        (name, malformed(name, values[name]))
        for name, variable in variables().items()
        if name in sources and values.get(name) and not variable.unused
    ]
    errors += [error for rule in RULES for error in rule(values)]
    return [f"{_place(name, sources, file)}: {message}" for name, message in errors if message]


def malformed(name: str, value: str) -> str:
    """Why `value` is not valid for `name`; empty if it is."""
    variable = variables()[name]
    expected, matches = TYPES[variable.type]
    if matches(value):
        return ""
    shown = "this value" if variable.secret else repr(value)
    return f"{name} cannot be {shown}: expected {expected}"


def _place(name: str, sources: Mapping[str, str], file: Path) -> str:
    return sources.get(name) or str(file)


def _one_dns_provider(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if values.get("CLOUDFLARE_API_TOKEN") and values.get("GANDI_API_TOKEN"):
        yield (
            "GANDI_API_TOKEN",
            "GANDI_API_TOKEN and CLOUDFLARE_API_TOKEN are both set: expected one DNS provider: remove one",
        )


def _acme(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    tokens = [name for name in ("CLOUDFLARE_API_TOKEN", "GANDI_API_TOKEN") if values.get(name)]
    if values.get("ACME_EMAIL") and not tokens:
        yield (
            "ACME_EMAIL",
            "ACME_EMAIL is set without a DNS provider's token: set CLOUDFLARE_API_TOKEN or GANDI_API_TOKEN",
        )
    if tokens and not values.get("ACME_EMAIL"):
        yield tokens[0], f"{tokens[0]} is set without ACME_EMAIL: set the account's e-mail address, or remove the token"


def _required(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, variable in variables().items():
        switch = variable.when
        # `values` has the default if nothing is set.
        if (
            variable.required
            and switch
            and values.get(switch) == "true"
            and values.get(name) in (None, variable.default)
        ):
            yield switch, f"{switch} is true without {name}: set {name}, or {switch}=false"


def _without_switch(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The internal database's and store's names and passwords are fixed, so any other value would only break them."""
    for name, variable in variables().items():
        if variable.when not in ("EXTERNAL_POSTGRES", "EXTERNAL_S3") or name == "EXTERNAL_S3_REGION":
            continue
        if values.get(variable.when) != "true" and values.get(name, "") not in ("", variable.default):
            yield name, f"{name} is set while {variable.when} is not true: set {variable.when}=true, or remove {name}"


def _own_certificate(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, other in (("HAPROXY_CRT", "HAPROXY_KEY"), ("HAPROXY_KEY", "HAPROXY_CRT")):
        if values.get(name) and not values.get(other):
            yield name, f"{name} is set without {other}: set both, or remove {name}"
    if values.get("HAPROXY_CRT") and values.get("ACME_EMAIL"):
        # In a cluster cert-manager's certificate would replace it, and the next `config` would restore it.
        yield (
            "HAPROXY_CRT",
            "HAPROXY_CRT (a custom certificate) and ACME_EMAIL (one from Let's Encrypt) are both set: expected one of "
            "them: remove ACME_EMAIL and the DNS provider's token; to switch to ACME, then run ./open-balena.sh pki "
            "import --remove (in a cluster) or custom-pki --remove (on a single machine), and set them again",
        )


def _own_tokens(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    missing = [name for name, v in variables().items() if v.token and not v.new_only and not values.get(name)]
    if values.get("TOKENS_MODE") == "user" and missing:
        yield (
            "TOKENS_MODE",
            f"TOKENS_MODE is user, but these tokens are missing: {', '.join(missing)}: set them, or TOKENS_MODE=auto",
        )


def _database_login(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if bool(values.get("DB_PASSWORD")) != (values.get("DB_USER", "docker") != "docker"):
        yield (
            "DB_USER",
            "DB_USER and DB_PASSWORD do not match: expected openbalena_a (or _b, after a rotation) with its password, "
            "or neither: restore both lines, or remove both if the database still has its image's user",
        )


def _api_memory(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    workers, memory = values.get("API_WORKERS", "1"), values.get("API_MEMORY", "2G")
    if malformed("API_WORKERS", workers) or malformed("API_MEMORY", memory):
        return
    minimum = max(_RESERVED, int(workers) * _WORKER + _BESIDE_WORKERS)
    if in_bytes(memory) < minimum << 20:
        yield (
            "API_WORKERS" if workers != "1" else "API_MEMORY",
            f"API_MEMORY={memory} is too low for API_WORKERS={workers}: expected at least {minimum}M ({_WORKER}M per "
            f"worker plus {_BESIDE_WORKERS}M, and not below {_RESERVED}M): raise API_MEMORY, or lower API_WORKERS",
        )


def _patience(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The health check must not kill a migration that the statement timeout allows."""
    limit, start_period = values.get("DB_STATEMENT_TIMEOUT", ""), values.get("API_START_PERIOD", "180s")
    if not limit or malformed("DB_STATEMENT_TIMEOUT", limit) or malformed("API_START_PERIOD", start_period):
        return
    if in_seconds(start_period) * 1000 < int(limit):
        yield (
            "DB_STATEMENT_TIMEOUT",
            f"API_START_PERIOD={start_period} is shorter than DB_STATEMENT_TIMEOUT={limit} (ms): the health check "
            f"could kill a migration that is allowed to run: set API_START_PERIOD={-(-int(limit) // 1000)}s or more",
        )


def _image_storage(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    names = ("IMAGE_STORAGE_ACCESS_KEY", "IMAGE_STORAGE_SECRET_KEY")
    for name, other in (names, names[::-1]):
        if values.get(name) and not values.get(other):
            yield name, f"{name} is set without {other}: the api would send no keys: set both, or remove {name}"


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

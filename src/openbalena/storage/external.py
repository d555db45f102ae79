"""The user's own PostgreSQL and object store, asked from inside the cluster before anything is deployed.

One task on the manager's node asks each, with the client that an image of openBalena's brings: psql of the db image,
curl of the registry's. A store or database that other nodes cannot reach is not found out by that.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from openbalena.cluster import job
from openbalena.cluster.engine import Engine
from openbalena.cluster.preflight import Finding
from openbalena.settings import connections

# Seconds, with the pull of an image that is not there yet.
_TIMEOUT = 300.0
# postgresql.org/support/versioning: in November 2026 version 14 had its last fixes.
OLDEST_POSTGRES = 15
# docker-compose.yml: what api and registry read (WEBRESOURCES_S3_BUCKET, REGISTRY2_S3_BUCKET).
BUCKETS = ("registry-data", "web-resources")
_QUESTION = (
    "SELECT current_setting('server_version_num'), has_schema_privilege('public', 'CREATE'), "
    "current_setting('max_connections')"
)


def check(
    engine: Engine, client: Any, settings: Mapping[str, str], images: Mapping[str, str], node: str, api_tasks: int
) -> list[Finding]:
    """What is wrong with the external services of `settings`, for so many tasks of the api at one time.

    `images` by service name, `node` is where to ask from.
    """
    found: list[Finding] = []
    if settings.get("EXTERNAL_POSTGRES") == "true":
        password = settings["EXTERNAL_POSTGRES_PASSWORD"].replace("\\", "\\\\").replace(":", "\\:")
        question = job.Job(
            "postgres", node, settings["DB_IMAGE"], postgres_script(settings), secrets=[_secret("postgres")]
        )
        outcome = _asked(engine, client, f"*:*:*:*:{password}\n", question)
        found += judged("EXTERNAL_POSTGRES", outcome)
        if outcome.ok and outcome.lines:
            found += too_few_connections(outcome.lines[-1], settings, api_tasks)
    if settings.get("EXTERNAL_S3") == "true":
        user = f"{settings['EXTERNAL_S3_ACCESS_KEY']}:{settings['EXTERNAL_S3_SECRET_KEY']}"
        image = images.get("registry", settings["REGISTRY_IMAGE"])
        question = job.Job("s3", node, image, store_script(settings), secrets=[_secret("s3")])
        found += judged("EXTERNAL_S3", _asked(engine, client, f"user = {_curl_word(user)}\n", question))
    return found


def postgres_script(settings: Mapping[str, str]) -> str:
    """psql, by which the server's version and the right to make tables are asked; the password comes as a file."""
    where = {option: settings[f"EXTERNAL_POSTGRES_{option.upper()}"] for option in ("host", "port", "database", "user")}
    return (
        f"command -v psql >/dev/null || {{ echo cannot: no psql; exit 0; }}\n"
        f"export PGPASSFILE=/run/secrets/{_secret('postgres')} PGCONNECT_TIMEOUT=10\n"
        f"psql -XAtq --no-password -h {shlex.quote(where['host'])} -p {where['port']} -U {shlex.quote(where['user'])} "
        f"-d {shlex.quote(where['database'])} -c {shlex.quote(_QUESTION)} 2>&1"
    )


def store_script(settings: Mapping[str, str]) -> str:
    """curl, by which each bucket is asked for with the keys (Signature Version 4); they come as a file."""
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    # Public: what api and registry trust beside the system's authorities.
    trust = f"echo {shlex.quote(settings.get('ROOT_CA', ''))} | base64 -d | cat {bundle} - >/tmp/trusted.pem"
    options = f"-sS --head -o /dev/null --max-time 30 --cacert /tmp/trusted.pem -K /run/secrets/{_secret('s3')}"
    region = shlex.quote(f"aws:amz:{settings['EXTERNAL_S3_REGION']}:s3")
    lines = [
        "curl --help all 2>/dev/null | grep -q aws-sigv4 || { echo cannot: no curl with --aws-sigv4; exit 0; }",
        trust,
    ]
    for bucket in BUCKETS:
        url = shlex.quote(f"https://{settings['EXTERNAL_S3_ENDPOINT']}/{bucket}/")
        lines.append(
            f"printf '{bucket} '; curl {options} --aws-sigv4 {region} -w '%{{http_code}}\\n' {url} 2>&1 || exit 1"
        )
    return "\n".join(lines)


_INSTEAD = (
    ": set DB_IMAGE to an image that the nodes can get and that has psql, such as postgres:17 (where the database is "
    "external it serves this check alone)"
)


def judged(what: str, outcome: job.Outcome) -> Iterator[Finding]:
    """What a task's words mean."""
    # curl's first line says what is wrong, the lines behind it where to read about it.
    words = next((line for line in outcome.lines if "curl: " in line), "") or job.failure(outcome)
    if not outcome.started or any(line.startswith("cannot:") for line in outcome.lines):
        # The store's client is that of an image which is deployed, so another one cannot be asked for.
        replaceable = what == "EXTERNAL_POSTGRES"
        yield Finding(f"{what} could not be checked: {words}{_INSTEAD * replaceable}", fatal=replaceable)
    elif not outcome.ok:
        yield Finding(f"{what}: from inside the cluster: {words}")
    elif what == "EXTERNAL_POSTGRES":
        yield from _postgres(outcome.lines)
    else:
        yield from _store(outcome.lines)


def _postgres(lines: tuple[str, ...]) -> Iterator[Finding]:
    number, create, *_ = (*lines[-1].split("|"), "") if lines else ("", "")
    if not number.isdigit():
        yield Finding(f"EXTERNAL_POSTGRES: not understood: {'; '.join(lines)}")
        return
    # server_version_num: 170004 is 17.4.
    if int(number) // 10000 < OLDEST_POSTGRES:
        text = (
            f"the server is PostgreSQL {int(number) // 10000}, which gets no fixes any more: {OLDEST_POSTGRES} or later"
        )
        yield Finding(f"EXTERNAL_POSTGRES: {text}", fatal=False)
    if create != "t":
        yield Finding(
            "EXTERNAL_POSTGRES_USER: may not make tables in the database's schema public: make it the database's owner "
            "(`ALTER DATABASE … OWNER TO …`) or GRANT CREATE ON SCHEMA public"
        )


def too_few_connections(answer: str, settings: Mapping[str, str], api_tasks: int) -> Iterator[Finding]:
    """A warning where the server's answer names fewer connections than the api may open: until they are, it runs."""
    limit = answer.rpartition("|")[2]
    if limit.isdigit() and (text := connections.shortage(settings, api_tasks, int(limit))):
        yield Finding(
            f"EXTERNAL_POSTGRES: {text}: raise max_connections on the server (it needs a restart), or lower "
            "API_WORKERS or the number of the api's tasks",
            fatal=False,
        )


_ANSWERS = {
    "301": "is in another region: set EXTERNAL_S3_REGION",
    "307": "is in another region: set EXTERNAL_S3_REGION",
    "400": "is not given with this region or key: set EXTERNAL_S3_REGION and EXTERNAL_S3_ACCESS_KEY",
    "403": "is refused: EXTERNAL_S3_ACCESS_KEY or EXTERNAL_S3_SECRET_KEY is wrong, or the key has no right to it",
    "404": "is not there: create it",
}


def _store(lines: tuple[str, ...]) -> Iterator[Finding]:
    for line in lines:
        bucket, _, code = line.partition(" ")
        if code != "200":
            yield Finding(f"EXTERNAL_S3: bucket {bucket} {_ANSWERS.get(code, f'answers with status {code}')}")


def _asked(engine: Engine, client: Any, credentials: str, question: job.Job) -> job.Outcome:
    with job.secret(client, question.secrets[0], credentials):
        return job.run(engine, client, [question], _TIMEOUT)[0]


def _secret(service: str) -> str:
    return f"openbalena-check-{service}"


def _curl_word(text: str) -> str:
    """A quoted word of curl's configuration file (curl(1), -K)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

"""Checks of an external PostgreSQL server and object store from inside the cluster before a deploy.

One task on the manager's node checks each, with the client in an image of openBalena: psql in the db image, curl in the
registry's. A database or store that only other nodes cannot reach is not detected.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from openbalena.base.names import CHECK_SECRETS
from openbalena.docker.engine import Engine
from openbalena.settings import connections
from openbalena.swarm import job
from openbalena.swarm.preflight import Finding

# Seconds, including the pull of a missing image.
_TIMEOUT = 300.0
# postgresql.org/support/versioning: version 14 is supported until November 2026.
OLDEST_POSTGRES = 15
# The buckets that api and registry use in docker-compose.yml (WEBRESOURCES_S3_BUCKET, REGISTRY2_S3_BUCKET).
BUCKETS = ("registry-data", "web-resources")
_POSTGRES, _S3 = CHECK_SECRETS
# Exit code of a script if the image has no program for the check; psql and curl do not use it.
_NO_CLIENT = 120
_QUERY = (
    "SELECT current_setting('server_version_num'), has_schema_privilege('public', 'CREATE'), "
    "current_setting('max_connections')"
)


def check_external(
    engine: Engine, client: Any, settings: Mapping[str, str], images: Mapping[str, str], node: str, api_tasks: int
) -> list[Finding]:
    """Problems with the external services of `settings`, given the largest number of api tasks at one time.

    `images` are the images by service name; the checks run on the node with id `node`.
    """
    findings: list[Finding] = []
    if settings.get("EXTERNAL_POSTGRES") == "true":
        outcome = ask_postgres(engine, client, settings, node, _QUERY)
        findings += store_findings("EXTERNAL_POSTGRES", outcome)
        if outcome.ok and outcome.lines:
            findings += too_few_connections(outcome.lines[-1], settings, api_tasks)
    if settings.get("EXTERNAL_S3") == "true":
        user = f"{settings['EXTERNAL_S3_ACCESS_KEY']}:{settings['EXTERNAL_S3_SECRET_KEY']}"
        image = images.get("registry", settings["REGISTRY_IMAGE"])
        query = job.Job("s3", node, image, store_script(settings), secrets=[_S3])
        findings += store_findings("EXTERNAL_S3", _probe(engine, client, f"user = {_curl_word(user)}\n", query))
    return findings


def ask_postgres(engine: Engine, client: Any, settings: Mapping[str, str], node: str, query: str) -> job.JobResult:
    """The external database's answer to `query`, from the node with id `node`."""
    password = settings["EXTERNAL_POSTGRES_PASSWORD"].replace("\\", "\\\\").replace(":", "\\:")
    script = postgres_script(settings, query)
    asking = job.Job("postgres", node, settings["DB_IMAGE"], script, secrets=[_POSTGRES])
    return _probe(engine, client, f"*:*:*:*:{password}\n", asking)


def postgres_script(settings: Mapping[str, str], query: str = _QUERY) -> str:
    """A script that asks the server, by default for its version, limits and the right to create tables.

    The password is in a file.
    """
    options = {
        option: settings[f"EXTERNAL_POSTGRES_{option.upper()}"] for option in ("host", "port", "database", "user")
    }
    return (
        f"command -v psql >/dev/null || {{ echo no psql; exit {_NO_CLIENT}; }}\n"
        f"export PGPASSFILE=/run/secrets/{_POSTGRES} PGCONNECT_TIMEOUT=10\n"
        f"psql -XAtq --no-password -h {shlex.quote(options['host'])} -p {options['port']} "
        f"-U {shlex.quote(options['user'])} -d {shlex.quote(options['database'])} -c {shlex.quote(query)} 2>&1"
    )


def store_script(settings: Mapping[str, str]) -> str:
    """A script that requests each bucket with the keys (Signature Version 4), which are in a file."""
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    # Public: the CA that api and registry trust in addition to those of the system.
    trust = f"echo {shlex.quote(settings.get('ROOT_CA', ''))} | base64 -d | cat {bundle} - >/tmp/trusted.pem"
    options = f"-sS --head -o /dev/null --max-time 30 --cacert /tmp/trusted.pem -K /run/secrets/{_S3}"
    region = shlex.quote(f"aws:amz:{settings['EXTERNAL_S3_REGION']}:s3")
    lines = [
        f"curl --help all 2>/dev/null | grep -q aws-sigv4 || {{ echo no curl with --aws-sigv4; exit {_NO_CLIENT}; }}",
        trust,
    ]
    for bucket in BUCKETS:
        url = shlex.quote(f"https://{settings['EXTERNAL_S3_ENDPOINT']}/{bucket}/")
        lines.append(
            f"printf '{bucket} '; curl {options} --aws-sigv4 {region} -w '%{{http_code}}\\n' {url} 2>&1 || exit 1"
        )
    return "\n".join(lines)


_DB_IMAGE_HINT = (
    ": set DB_IMAGE to an image that the nodes can pull and that has psql, such as postgres:17 (with an external "
    "database it is used for this check only)"
)


def store_findings(what: str, outcome: job.JobResult) -> Iterator[Finding]:
    """The findings that follow from a task's result."""
    # curl prints the error first, then where to read about it.
    error = next((line for line in outcome.lines if "curl: " in line), "") or job.error_text(outcome)
    if not outcome.started or outcome.exit_code == _NO_CLIENT:
        # The store's client comes with an image that is deployed anyway: the user cannot choose another for the check.
        replaceable = what == "EXTERNAL_POSTGRES"
        yield Finding(f"{what} could not be checked: {error}{_DB_IMAGE_HINT * replaceable}", fatal=replaceable)
    elif not outcome.ok:
        yield Finding(f"{what}: from inside the cluster: {error}")
    elif what == "EXTERNAL_POSTGRES":
        yield from _postgres(outcome.lines)
    else:
        yield from _store(outcome.lines)


def _postgres(lines: tuple[str, ...]) -> Iterator[Finding]:
    number, create, *_ = (*lines[-1].split("|"), "") if lines else ("", "")
    if not number.isdigit():
        yield Finding(f"EXTERNAL_POSTGRES: unexpected answer: {'; '.join(lines)}")
        return
    # server_version_num: 170004 is 17.4.
    if int(number) // 10000 < OLDEST_POSTGRES:
        yield Finding(
            f"EXTERNAL_POSTGRES: the server is PostgreSQL {int(number) // 10000}, which is no longer supported: use "
            f"{OLDEST_POSTGRES} or later",
            fatal=False,
        )
    if create != "t":
        yield Finding(
            "EXTERNAL_POSTGRES_USER: cannot create tables in the schema public: make it the owner of the database "
            "(`ALTER DATABASE … OWNER TO …`) or GRANT CREATE ON SCHEMA public"
        )


def too_few_connections(answer: str, settings: Mapping[str, str], api_tasks: int) -> Iterator[Finding]:
    """A warning if the server allows fewer connections than the api may open; it runs until it opens that many."""
    limit = answer.rpartition("|")[2]
    if limit.isdigit() and (text := connections.shortage(settings, api_tasks, int(limit))):
        yield Finding(
            f"EXTERNAL_POSTGRES: {text}: raise max_connections on the server (it needs a restart), or lower "
            "API_WORKERS or the number of api replicas",
            fatal=False,
        )


_STATUS_HINTS = {
    "301": "is in another region: set EXTERNAL_S3_REGION",
    "307": "is in another region: set EXTERNAL_S3_REGION",
    "400": "is not accessible with this region or key: check EXTERNAL_S3_REGION and EXTERNAL_S3_ACCESS_KEY",
    "403": "is denied: EXTERNAL_S3_ACCESS_KEY or EXTERNAL_S3_SECRET_KEY is wrong, or the key has no permission",
    "404": "does not exist: create it",
}


def _store(lines: tuple[str, ...]) -> Iterator[Finding]:
    for line in lines:
        bucket, _, code = line.partition(" ")
        if code != "200":
            yield Finding(f"EXTERNAL_S3: bucket {bucket} {_STATUS_HINTS.get(code, f'returns HTTP status {code}')}")


def _probe(engine: Engine, client: Any, credentials: str, query: job.Job) -> job.JobResult:
    with job.create_job_secret(client, query.secrets[0], credentials):
        return job.run_job(engine, client, [query], _TIMEOUT)[0]


def _curl_word(text: str) -> str:
    """A quoted value in curl's configuration file (curl(1), -K)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

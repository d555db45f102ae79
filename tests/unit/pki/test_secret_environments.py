"""Which services have a secret in their environment, where everybody at a manager can read it."""

import re
from pathlib import Path

import pytest

from openbalena.base.project import ROOT, Project
from openbalena.operations import deployment
from openbalena.pki import tokens
from openbalena.settings import envfile
from openbalena.settings.variables import variables
from openbalena.stack.secret_usage import secret_users

DNS = {"CLOUDFLARE_API_TOKEN": "c" * 20}, {"GANDI_API_TOKEN": "g" * 20}
EXTERNAL = {
    "EXTERNAL_POSTGRES": "true",
    "EXTERNAL_POSTGRES_HOST": "pg.example.net",
    "EXTERNAL_POSTGRES_PASSWORD": "p" * 20,
    "EXTERNAL_S3": "true",
    "EXTERNAL_S3_ENDPOINT": "s3.example.net",
    "EXTERNAL_S3_ACCESS_KEY": "a" * 20,
    "EXTERNAL_S3_SECRET_KEY": "b" * 20,
}


def in_environments(project: Project) -> set[tuple[str, str]]:
    """(service, variable) for each secret that a service's definition names."""
    compiled = deployment.load(project, lab=False).compiled
    files = {(s, name) for c in compiled.content_files for s in c.services for name in variables() if name in str(c)}
    found = {(service, name) for name, v in variables().items() if v.secret for service in secret_users(compiled, name)}
    return {pair for pair in found if pair not in files}


def test_the_docs_list_them_all_and_no_others(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    found = set()
    values = {"DNS_TLD": "my.example.com", "SUPERUSER_EMAIL": "a@my.example.com", "PKI_DIR": str(made)}
    values |= {"ACME_EMAIL": "a@example.com", "TUNNEL_TOKEN": "t" * 20, "COMPOSE_PROFILES": "admin,builder,tunnel,acme"}
    for provider in DNS:
        for external in ({}, EXTERNAL):
            chosen = {**values, **provider, **external}
            (tmp_path / ".env").write_text(envfile.new({**chosen, **tokens.missing_tokens(chosen)}))
            found |= in_environments(Project(directory=tmp_path))
    listed = set()
    section = (
        (ROOT / "docs" / "certificates.md").read_text().partition("Secrets visible in `docker service inspect`")[2]
    )
    for services, names in re.findall(r"^\| ([\w, -]+) \| (`.*`) \|$", section, re.MULTILINE):
        listed |= {(service, name) for service in services.split(", ") for name in re.findall(r"`(\w+)`", names)}
    assert found == listed

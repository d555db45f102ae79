"""What is masked in text and in data, and what remains readable."""

import base64
import json
from typing import Any

import pytest

from openbalena.settings.redaction import Redaction
from openbalena.settings.values import MASK, Settings, Value

SECRET, SHORT, OWN = 'pa"ss/wörd\\1234', "abcd", "a-secret-of-the-user"
PEM = (
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7\nx1\n-----END PRIVATE KEY-----"
)
FIRST, SECOND = PEM.splitlines()[1:3]


@pytest.fixture(scope="module")
def redaction() -> Redaction:
    values = {
        "DB_PASSWORD": SECRET,
        "EXTERNAL_POSTGRES_PASSWORD": SHORT,
        "DNS_TLD": "my.example.com",
        "MY_SECRET": OWN,
        "MY_DOMAIN": "my.example.com",
        "MY_FLAG": "true",
        "COMPOSE_PROJECT_NAME": "a-project-name",
    }
    return Redaction(Settings({name: Value(text, "") for name, text in values.items()}, []), [PEM.encode()])


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        "pa%22ss%2Fw%C3%B6rd%5C1234",
        "pa%22ss/w%C3%B6rd%5C1234",
        base64.b64encode(SECRET.encode()).decode()[:20],
        base64.urlsafe_b64encode(f"{SECRET}\n".encode()).decode()[:20],
        OWN,
        SHORT,
        PEM,
        FIRST,
        SECOND,
        base64.b64encode(PEM.encode()).decode()[:-4],
        "SWMTKN-1-49nj1cmql0jkz5s954yi3oex3nedyz0fb0xx14ie39trti4wxv-8vxv8rssmk743ojnwacrr2e7c",
        "SWMKEY-1-7c37Cc8654o6p38HnroywCi19pllOnGtbdZEgtKxZu8",
        "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6MX0.c2lnbmF0dXJl",
    ],
)
def test_a_secret_is_masked_in_every_form(form: str, redaction: Redaction) -> None:
    assert redaction.text(f"before {form} after") == f"before {MASK} after"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abcdef123", f"Authorization: {MASK} {MASK}"),
        ("curl -H 'Authorization: opaque'", f"curl -H 'Authorization: {MASK}'"),
        ("postgres://docker:hunter2@db:5432/x", f"postgres://docker:{MASK}@db:5432/x"),
        ("o=addr=10.0.0.1,username=me,password=x,rw", f"o=addr=10.0.0.1,username=me,password={MASK},rw"),
        ('{"apiKey": "x", "id": 1}', f'{{"apiKey": "{MASK}", "id": 1}}'),
        ("GET /v6/device?apikey=x&y=2", f"GET /v6/device?apikey={MASK}&y=2"),
        ("redis-server --requirepass hunter2 --port 1", f"redis-server --requirepass {MASK} --port 1"),
        ("x -api-key 'hunter 2' --no-password --y", f"x -api-key {MASK} --no-password --y"),
        ("Cookie: a=b; c=d", f"Cookie: {MASK}"),
        ("a\n-----BEGIN RSA PRIVATE KEY-----\nQUJD", f"a\n{MASK}"),
        ("api | QUJD\napi | -----END EC PRIVATE KEY-----\nb", f"{MASK}\nb"),
        ("2026-11-23 | -----BEGIN PRIVATE KEY-----\n2026-11-23 | QUJD\n2026-11-23 | -----END PRIVATE KEY-----\nb",
         f"2026-11-23 | {MASK}\nb"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_masked(text: str, expected: str, redaction: Redaction) -> None:
    assert redaction.text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "api.my.example.com is true",
        "network a-project-name_default",
        "secret ob_api-env-0123456789ab not found",
        "docker swarm join-token manager",
        "abcdefg and xabcd",
        "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----",
        "https://my.example.com:443/path@x",
    ],
)
def test_other_text_is_kept(text: str, redaction: Redaction) -> None:
    assert redaction.text(text) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Env": ["DNS_TLD=my.example.com", "OTHER=x", "DB_PASSWORD=y", "EMPTY=", "DNS_TLD=pa:abcd"]},
         {"Env": ["DNS_TLD=my.example.com", f"OTHER={MASK}", f"DB_PASSWORD={MASK}", "EMPTY=", f"DNS_TLD=pa:{MASK}"]}),
        ({"Labels": {"openbalena.ingress": "true", "com.docker.stack.image": "a", "auth": "me:x"}},
         {"Labels": {"openbalena.ingress": "true", "com.docker.stack.image": "a", "auth": MASK}}),
        ({"Labels": ["a=b", "openbalena.x=y"]}, {"Labels": [f"a={MASK}", "openbalena.x=y"]}),
        ({"JoinTokens": {"Worker": "x", "Manager": "y"}}, {"JoinTokens": {"Worker": MASK, "Manager": MASK}}),
        ({"credentials": {"of": ["x", {"y": "z"}], "n": 1}}, {"credentials": {"of": [MASK, {"y": MASK}], "n": 1}}),
        ({"Options": {"splunk-token": "x", "tag": "y"}}, {"Options": {"splunk-token": MASK, "tag": "y"}}),
        ({"Secrets": [{"SecretName": "ob_a"}]}, {"Secrets": [{"SecretName": "ob_a"}]}),
        ({"Args": ["x", "--requirepass", "y", "--no-token", "--z"]},
         {"Args": ["x", "--requirepass", MASK, "--no-token", "--z"]}),
        ({"engine_labels": {"a": "b"}}, {"engine_labels": {"a": MASK}}),
        ({"Labels": None, "Env": None, "n": 1, "on": True, "Token": ""},
         {"Labels": None, "Env": None, "n": 1, "on": True, "Token": ""}),
        ({OWN: [OWN, (OWN,)]}, {MASK: [MASK, [MASK]]}),
    ],
)  # fmt: skip
def test_data_is_masked_by_the_names_of_its_fields_too(value: Any, expected: Any, redaction: Redaction) -> None:
    assert redaction.data(value) == expected

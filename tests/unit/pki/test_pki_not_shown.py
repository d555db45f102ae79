"""No command that can do its work, or refuse it, without an engine shows a secret of `.env`: not in what it prints, not
in an error, not in a log, not to the programs it starts; whatever the values are and however the file is broken."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from openbalena.base import placeholder
from openbalena.cli.main import main
from openbalena.compose import dotenv
from openbalena.settings.variables import variables

# At both ends of every value, so that one that comes out escaped, quoted or in part is found too.
HEAD, TAIL = "qZ7x", "x7Zq"
TOKENS = [name for name, v in variables().items() if v.token and name != "DB_PASSWORD"]
# Of a narrower type than a token, and rotated in the database first.
DATABASE = {"DB_USER": "openbalena_a", "DB_PASSWORD": f"{HEAD}database{TAIL}"}
# Those that a deployment without ACME and with its own database has beside its tokens.
OTHERS = ["TUNNEL_TOKEN", "EXTERNAL_S3_ACCESS_KEY", "EXTERNAL_S3_SECRET_KEY"]
# What a token may consist of: printable ASCII without blanks, quotes and backslashes.
PRINTABLE = "".join(sorted({chr(code) for code in range(0x21, 0x7F)} - set("\"'`\\")))
VALUES = st.lists(
    st.text(PRINTABLE, min_size=1, max_size=24), min_size=len(TOKENS + OTHERS), max_size=len(TOKENS + OTHERS)
)

# Without what makes a name of the characters before it: names are shown.
BARE = st.text(PRINTABLE.replace(":", "").replace("=", ""), max_size=12)

# A case takes a second, and to find the smallest one that fails would take minutes.
OPTIONS: dict[str, Any] = {
    "deadline": None,
    "phases": [Phase.explicit, Phase.reuse, Phase.generate],
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}

# Ways of writing `{name}` with the secret `{value}` that are refused or warned about.
WRONG = (
    '{name}="{value}',
    "{name}='{value}",
    '{name}="{value}" more',
    "{name}={value} more",
    "{name}='{value}\nmore'",
    "{name}={value}${{",
    "{name}=${{{value}}}",
    '{name}="${{X:?{value}}}"',
    "{name}=${value}",
    "{name} {value}",
    "{name} = {value}\\",
    "{name}={value}\x07",
    "{name}={value}é",
    "= {value}",
    "{value}",
    "{name}\n{value} {value}",
)
# What a user's override does with a secret: in places that take it, and in those that take no text.
OVERRIDES = (
    "environment: {{MY_OWN: '${{{name}}}'}}",
    "image: '${{{name}}}'",
    "command: ['echo', '${{{name}}}']",
    "labels: {{own: '${{{name}}}'}}",
    "ports: ['${{{name}}}:80']",
    "mem_limit: '${{{name}}}'",
    "deploy: {{replicas: '${{{name}}}'}}",
    "stop_grace_period: '${{{name}}}'",
    "healthcheck: {{interval: '${{{name}}}'}}",
    "volumes: ['${{{name}}}']",
    "environment: {{MY_OWN: '${{{name}:?{name} ${{{name}}} is missing}}'}}",
    "networks: ['${{{name}}}']",
    "'${{{name}}}': 1",
)


@pytest.fixture(scope="module", autouse=True)
def nothing_around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No setting from outside, and no docker program."""
    with pytest.MonkeyPatch.context() as patch:
        for name in variables():
            patch.delenv(name, raising=False)
        patch.setenv("PATH", "/nonexistent")
        patch.setenv("OPEN_BALENA_LAB_DIR", str(tmp_path_factory.mktemp("no-lab")))
        yield


class Watch:
    """What a command shows: its outputs, the logs of all libraries, and the words of the programs it starts."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self.capture, self.logged = capture, list[str]()
        self.started = list[str]()

    def run(self, directory: Path, *words: str) -> tuple[int, str]:
        """The exit status of a command and all that was seen of it."""
        handler = logging.Handler()
        handler.emit = lambda record: self.logged.append(f"{record.getMessage()} {record.exc_text}")  # type: ignore[method-assign]
        root = logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        self.capture.readouterr()
        try:
            with argv_of_children(self.started):
                status = main(["--project-directory", str(directory), *words])
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
        said = self.capture.readouterr()
        seen = "\n".join([said.out, said.err, *self.logged, *self.started])
        self.logged.clear()
        self.started.clear()
        return status, seen


_listening: list[list[str]] = []


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if _listening and event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
        _listening[-1].append(repr(arguments[:2]))


@contextmanager
def argv_of_children(into: list[str]) -> Iterator[None]:
    """Note the programs that this process starts (PEP 578: a hook cannot be removed again)."""
    if not getattr(sys, "_heard_by_tests", False):
        sys.addaudithook(_hear)
        sys._heard_by_tests = True  # type: ignore[attr-defined]
    _listening.append(into)
    try:
        yield
    finally:
        _listening.pop()


@contextmanager
def deployment(made: Path, lines: str, override: str = "") -> Iterator[Path]:
    """A project's directory with that `.env` and certificates."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        copytree(made, directory / "pki")
        (directory / ".env").write_text(f"DNS_TLD=my.example.com\n{lines}")
        (directory / ".env").chmod(0o600)
        if override:
            (directory / "docker-compose.override.yml").write_text(f"services:\n  api:\n    {override}\n")
        yield directory


def assert_hidden(seen: str, words: tuple[str, ...]) -> None:
    found = [line for line in seen.splitlines() if HEAD in line or TAIL in line]
    assert not found, (words, found)
    assert not placeholder.placeholders_in(seen), words


EVERY: tuple[tuple[str, ...], ...] = (
    ("config", "--yes"),
    ("lint",),
    ("showenv",),
    ("showenv", "--json"),
    ("secrets", "show"),
    ("secrets", "show", "--json"),
    ("stack", "render"),
    ("stack", "render", "-o", "{directory}/rendered"),
    ("stack", "validate", "{directory}/rendered/stack.yml"),
    ("swarm-up", "--dry-run"),
    ("pki", "show"),
    ("verify", "--address", "127.0.0.1", "--openvpn", "/bin/false"),
)
# Without an engine these are refused, with a reason.
REFUSED = (
    ("swarm-up",),
    ("up",),
    ("status",),
    ("swarm-status",),
    ("swarm-down", "--yes"),
    ("config", "--from-cluster"),
    ("storage", "show"),
    ("pki", "sync"),
    ("stack", "diff"),
    ("secrets", "rotate", "DB_PASSWORD", "--yes"),
)


@given(VALUES, st.sampled_from(TOKENS))
@hypothesis_settings(max_examples=10, **OPTIONS)
def test_no_command_shows_one(made: Path, capsys: pytest.CaptureFixture[str], texts: list[str], name: str) -> None:
    values = {n: f"{HEAD}{text}{TAIL}" for n, text in zip(TOKENS + OTHERS, texts, strict=True)} | DATABASE
    external = "EXTERNAL_S3=true\nEXTERNAL_S3_ENDPOINT=s3.example.com\n"
    lines = external + "".join(f"{n}={dotenv.quote(value)}\n" for n, value in values.items())
    watch = Watch(capsys)
    with deployment(made, lines) as directory:
        for words in EVERY:
            words = tuple(word.format(directory=directory) for word in words)
            status, seen = watch.run(directory, *words)
            assert status == (1 if words[0] == "verify" else 0), (words, seen)
            assert_hidden(seen, words)
        for words in REFUSED:
            status, seen = watch.run(directory, *words)
            assert status and "error: " in seen and "defect" not in seen, (words, seen)
            assert_hidden(seen, words)
        # The new value has neither end.
        status, seen = watch.run(directory, "secrets", "rotate", name, "--yes")
        new = dotenv.read_file(directory / ".env", {}).values[name]
        assert status == 0 and new != values[name] and new not in seen


@given(st.sampled_from(WRONG), st.sampled_from([*TOKENS, "DB_PASSWORD", "TUNNEL_TOKEN", "HAPROXY_KEY"]), BARE)
@hypothesis_settings(max_examples=100, **OPTIONS)
def test_no_refusal_of_a_broken_file_shows_one(
    made: Path, capsys: pytest.CaptureFixture[str], form: str, name: str, text: str
) -> None:
    watch = Watch(capsys)
    with deployment(made, form.format(name=name, value=f"{HEAD}{text}{TAIL}") + "\n") as directory:
        for words in [("lint",), ("showenv",), ("swarm-up", "--dry-run"), ("config", "--yes"), ("secrets", "show")]:
            status, seen = watch.run(directory, *words)
            assert status in (0, 2) and "defect" not in seen, (words, seen)
            assert_hidden(seen, words)


@pytest.mark.parametrize("override", OVERRIDES)
@pytest.mark.parametrize("name", ["COOKIE_SESSION_SECRET", "REGISTRY2_S3_SECRET"])
def test_an_override_that_uses_one_does_not_show_it(
    override: str, name: str, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = Watch(capsys)
    lines = "".join(f"{n}={HEAD}{n}{TAIL}\n" for n in TOKENS)
    with deployment(made, lines, override.format(name=name)) as directory:
        for words in [("lint",), ("stack", "render"), ("swarm-up", "--dry-run"), ("secrets", "show")]:
            status, seen = watch.run(directory, *words)
            assert status in (0, 2) and "defect" not in seen, (words, seen)
            assert_hidden(seen, words)


@pytest.mark.parametrize("text", ["", " with blanks", "'", "\\", "\n"])
def test_a_value_from_the_environment_is_not_shown(
    text: str, made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other than `.env` says, or one that cannot be: refused in both cases."""
    monkeypatch.setenv("VPN_GUEST_API_KEY", f"{HEAD}{text}{TAIL}")
    watch = Watch(capsys)
    with deployment(made, "".join(f"{n}={'b' * 32}\n" for n in TOKENS)) as directory:
        for words in [("showenv",), ("config", "--yes"), ("secrets", "rotate", "VPN_GUEST_API_KEY", "--yes")]:
            status, seen = watch.run(directory, *words)
            assert "defect" not in seen, (words, seen)
            assert_hidden(seen, words)

"""`config`, `showenv` and `showpass`, run as a user runs them."""

import base64
import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from openbalena.base import locks
from openbalena.compose import dotenv
from openbalena.pki import store
from openbalena.settings.variables import variables

TOKENS = [name for name, variable in variables().items() if variable.token]
CLEAN = {name: value for name, value in os.environ.items() if name not in variables()}


def run(
    directory: Path, *words: str, code: int = 0, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "openbalena", "--project-directory", str(directory), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env={**CLEAN, **(environment or {})},
    )
    assert done.returncode == code, done.stderr
    return done


@contextmanager
def locked(directory: Path, how: int) -> Iterator[None]:
    """Hold the lock of `directory` as a command of the versions does that locked the directory itself."""
    descriptor = os.open(directory, os.O_RDONLY)
    fcntl.flock(descriptor, how)
    try:
        yield
    finally:
        os.close(descriptor)


def values(directory: Path) -> dict[str, str]:
    return dotenv.read_file(directory / ".env", {}).values


def test_options_alone_are_enough(tmp_path: Path) -> None:
    done = run(tmp_path, "config", "--dns-tld", "my.example.com", "--yes")
    written = values(tmp_path)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert written["DNS_TLD"] == "my.example.com"
    assert written["SUPERUSER_EMAIL"] == "admin@my.example.com"
    assert written["COMPOSE_PROFILES"] == "internal-postgres,internal-s3"
    assert all(re.fullmatch("[0-9a-f]{32}", written[name]) for name in TOKENS)
    assert len({written[name] for name in TOKENS}) == len(TOKENS)
    store.check_files(tmp_path / "pki", "my.example.com")
    assert not any(written[name] in done.stdout + done.stderr for name in TOKENS)


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path, "config", "--dns-tld", "my.example.com")
    before = {path: path.read_bytes() for path in [tmp_path / ".env", *(tmp_path / "pki").iterdir()]}
    assert "unchanged" in run(tmp_path, "config").stdout
    assert {path: path.read_bytes() for path in before} == before


def test_without_a_domain_it_names_variable_and_option(tmp_path: Path) -> None:
    done = run(tmp_path, "config", code=2)
    assert "DNS_TLD" in done.stderr and "--dns-tld" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [locks.NAME]


def test_the_environment_is_enough(tmp_path: Path) -> None:
    environment = {"DNS_TLD": "my.example.com", "SUPERUSER_PASSWORD": "correct-horse", "TUNNEL_TOKEN": "eyJhIjoiYSJ9"}
    run(tmp_path, "config", environment=environment)
    written = values(tmp_path)
    assert {name: written[name] for name in environment} == environment
    assert written["COMPOSE_PROFILES"].endswith(",tunnel")


def test_an_upstream_file_is_completed_and_kept(tmp_path: Path) -> None:
    upstream = (
        "# mine\nexport DNS_TLD=openbalena.local\nexport PRODUCTION_MODE=false\nORG_UNIT=openBalena\nMINE='a b'\n"
        "BALENARC_NO_ANALYTICS=1\nSUPERUSER_EMAIL=me@example.com\nVERBOSE=on\nBALENA_DEVICE_UUID=0123456789abcdef"
    )
    (tmp_path / ".env").write_text(upstream)
    run(tmp_path, "config")
    assert (tmp_path / ".env").read_text().startswith(upstream + "\n")
    written = values(tmp_path)
    assert written["SUPERUSER_EMAIL"] == "me@example.com"
    assert written["HAPROXY_PASSWORD"] == "0123456789abcdef"
    assert all(written[name] for name in TOKENS)


def test_changes_are_shown_and_need_yes(tmp_path: Path) -> None:
    run(tmp_path, "config", "--dns-tld", "my.example.com")
    before = values(tmp_path)
    done = run(tmp_path, "config", "--superuser-email", "me@example.com", code=2)
    assert "SUPERUSER_EMAIL: admin@my.example.com -> me@example.com" in done.stderr
    assert "--yes" in done.stderr
    assert values(tmp_path) == before
    run(tmp_path, "config", "--superuser-email", "me@example.com", "--yes")
    assert values(tmp_path) == before | {"SUPERUSER_EMAIL": "me@example.com"}


def test_a_token_never_changes(tmp_path: Path) -> None:
    run(tmp_path, "config", "--dns-tld", "my.example.com")
    before = values(tmp_path)
    done = run(tmp_path, "config", "--yes", code=2, environment={"COOKIE_SESSION_SECRET": "another-secret"})
    assert "a token never changes" in done.stderr and "another-secret" not in done.stderr
    assert values(tmp_path) == before


def test_a_setting_is_unset(tmp_path: Path) -> None:
    words = ["config", "--dns-tld", "my.example.com", "--external-s3-region", "eu-west-1", "--yes"]
    run(tmp_path, *words)
    fresh = (tmp_path / ".env").read_text()
    assert "\nEXTERNAL_S3_REGION=eu-west-1\n" in fresh
    done = run(tmp_path, "config", "--unset", "EXTERNAL_S3_REGION", code=2)
    assert "EXTERNAL_S3_REGION: eu-west-1 -> (empty)\n" in done.stderr and "pass --yes" in done.stderr
    run(tmp_path, "config", "--unset", "EXTERNAL_S3_REGION", "--yes")
    unset = (tmp_path / ".env").read_text()
    assert unset == fresh.replace("\nEXTERNAL_S3_REGION=eu-west-1\n", "\n#EXTERNAL_S3_REGION=us-east-1\n")
    run(tmp_path, *words)
    assert values(tmp_path)["EXTERNAL_S3_REGION"] == "eu-west-1"
    # The default stays above it as a comment, as in every file that was changed since it was new.
    run(tmp_path, "config", "--unset", "EXTERNAL_S3_REGION", "--yes")
    assert (tmp_path / ".env").read_text() == unset


def test_what_follows_from_a_setting_that_is_unset_changes_too(tmp_path: Path) -> None:
    run(tmp_path, "config", "--dns-tld", "my.example.com", "--profiles", "admin", "--yes")
    run(tmp_path, "config", "--superuser-email", "me@example.com", "--yes")
    with (tmp_path / ".env").open("a") as file:
        file.write("OWN=1\n")
    run(tmp_path, "config", "--unset", "PROFILES", "--unset", "SUPERUSER_EMAIL", "--unset", "OWN", "--yes")
    found = values(tmp_path)
    assert found["COMPOSE_PROFILES"] == "internal-postgres,internal-s3" and "OWN" not in found
    assert found["SUPERUSER_EMAIL"] == "admin@my.example.com"


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["--unset", "COOKIE_SESSION_SECRET"], {}, "is a token, which services need: to give it another value run "),
        (["--unset", "PROFILE"], {}, "PROFILE is not a setting: did you mean PROFILES?"),
        (["--unset", "DNS_TLD"], {}, "DNS_TLD is not set"),
        (["--unset", "USE_NFS", "--use-nfs", "false"], {}, "USE_NFS cannot be both set and unset"),
        (["--unset", "USE_NFS"], {"USE_NFS": "false"}, "environment variable USE_NFS is set and takes precedence"),
        (["--unset", "NFS_HOST", "--use-nfs", "true"], {}, "USE_NFS is true without NFS_HOST"),
    ],
)
def test_what_cannot_be_unset(words: list[str], environment: dict[str, str], said: str, tmp_path: Path) -> None:
    run(tmp_path, "config", "--dns-tld", "my.example.com", "--yes")
    before = (tmp_path / ".env").read_text()
    assert said in run(tmp_path, "config", *words, "--yes", code=2, environment=environment).stderr
    assert (tmp_path / ".env").read_text() == before


def test_profiles_follow_and_own_ones_stay(tmp_path: Path) -> None:
    run(tmp_path, "config", "--dns-tld", "my.example.com")
    file = tmp_path / ".env"
    file.write_text(file.read_text().replace("COMPOSE_PROFILES=", "COMPOSE_PROFILES=mine,"))
    options = ["--external-postgres", "true", "--external-postgres-host", "10.0.0.9", "--profiles", "builder"]
    run(tmp_path, "config", *options, environment={"EXTERNAL_POSTGRES_PASSWORD": "pass$word"})
    written = values(tmp_path)
    assert written["COMPOSE_PROFILES"] == "internal-s3,builder,mine"
    assert written["EXTERNAL_POSTGRES_PASSWORD"] == "pass$word"


def test_user_tokens(tmp_path: Path) -> None:
    environment = {"TOKENS_MODE": "user", "DNS_TLD": "my.example.com"}
    done = run(tmp_path, "config", code=2, environment=environment)
    assert all(name in done.stderr for name in TOKENS if name != "DB_PASSWORD")
    supplied = {name: f"supplied-{name}" for name in TOKENS}
    done = run(tmp_path, "config", code=2, environment={**environment, **supplied})
    assert "DB_USER and DB_PASSWORD do not match" in done.stderr
    run(tmp_path, "config", environment={**environment, **supplied, "DB_USER": "openbalena_a"})
    assert {name: values(tmp_path)[name] for name in TOKENS} == supplied


def test_a_wrong_value_in_the_file_is_corrected_by_an_option(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DNS_TLD=https://my.example.com\n")
    assert ".env:1" in run(tmp_path, "config", code=2).stderr
    run(tmp_path, "config", "--dns-tld", "my.example.com", "--yes")
    assert values(tmp_path)["DNS_TLD"] == "my.example.com"


def test_without_settings_the_way_to_those_of_a_cluster_is_said(tmp_path: Path) -> None:
    """Settings that `config` makes anew are refused there."""
    for words in (["swarm-up"], ["pki", "sync"]):
        said = run(tmp_path, *words, code=2).stderr
        assert f"{tmp_path}/.env does not exist" in said and f"{tmp_path} config --from-cluster" in said


def test_another_domain_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    run(tmp_path, "config", "--dns-tld", "my.example.com")
    before = (tmp_path / ".env").read_bytes()
    done = run(tmp_path, "config", "--dns-tld", "other.example.com", "--yes", code=2)
    assert "restore DNS_TLD, or delete" in done.stderr
    assert (tmp_path / ".env").read_bytes() == before


def test_two_at_once_exclude_each_other(tmp_path: Path) -> None:
    with locked(tmp_path, fcntl.LOCK_EX):
        refused = run(tmp_path, "config", "--dns-tld", "my.example.com", code=1).stderr
        assert "another command is changing or deploying" in refused
    run(tmp_path, "config", "--dns-tld", "my.example.com")


def test_nothing_is_deployed_while_the_settings_change_and_nothing_changes_meanwhile(tmp_path: Path) -> None:
    run(tmp_path, "config", "--dns-tld", "my.example.com")
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/nowhere.sock"}
    with locked(tmp_path, fcntl.LOCK_EX):
        for words in (["swarm-up"], ["pki", "sync"]):
            refused = run(tmp_path, *words, code=1, environment=nowhere).stderr
            assert "another command is changing" in refused, words
        run(tmp_path, "swarm-up", "--dry-run")
    with locked(tmp_path, fcntl.LOCK_SH):  # as swarm-up does
        done = run(tmp_path, "swarm-up", code=1, environment=nowhere)
        assert "Docker cannot be reached" in done.stderr, "the swarm's lock decides between two"
        for words in (["config"], ["pki", "renew"], ["secrets", "rotate", "CA", "--yes"], ["pki", "sync"]):
            refused = run(tmp_path, *words, code=1, environment=nowhere).stderr
            assert "another command is changing or deploying" in refused, words


@pytest.mark.parametrize("how", [fcntl.LOCK_EX, fcntl.LOCK_SH])
def test_commands_exclude_each_other_by_a_file_that_only_the_owner_can_open(tmp_path: Path, how: int) -> None:
    with locks.locked(tmp_path, how):
        assert (tmp_path / locks.NAME).stat().st_mode & 0o777 == 0o600
        refused = run(tmp_path, "config", "--dns-tld", "my.example.com", code=1).stderr
        assert "another command is changing or deploying" in refused
        with pytest.raises(BlockingIOError), locks.locked(tmp_path, fcntl.LOCK_EX):
            pass
    run(tmp_path, "config", "--dns-tld", "my.example.com")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user, and nobody else can become one")
@pytest.mark.parametrize("how", [fcntl.LOCK_EX, fcntl.LOCK_SH])
def test_another_user_cannot_keep_commands_from_running(how: int) -> None:
    with TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        script = (
            "import fcntl, os, sys, time\n"
            "os.setuid(65534)\n"
            f"fcntl.flock(os.open({name!r}, os.O_RDONLY), {how})\n"
            "print('has it', flush=True)\n"
            "time.sleep(60)\n"
        )
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as other:
            try:
                assert other.stdout is not None and other.stdout.readline() == "has it\n"
                run(directory, "config", "--dns-tld", "my.example.com")
                run(directory, "secrets", "rotate", "JSON_WEB_TOKEN_SECRET", "--yes")
                with pytest.raises(PermissionError):
                    _as_nobody(directory / locks.NAME)
            finally:
                other.kill()


def _as_nobody(path: Path) -> None:
    os.seteuid(65534)
    try:
        os.close(os.open(path, os.O_RDONLY))
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give a file away")
def test_root_leaves_no_lock_that_the_owner_cannot_open(tmp_path: Path) -> None:
    os.chown(tmp_path, 1000, 1000)
    run(tmp_path, "config", "--dns-tld", "my.example.com")
    assert (tmp_path / locks.NAME).stat().st_uid == 1000


@pytest.mark.parametrize("linked", [False, True])
def test_what_kills_left_of_secrets_is_removed(tmp_path: Path, linked: bool) -> None:
    run(tmp_path, "config", "--dns-tld", "my.example.com")
    place = tmp_path
    if linked:
        place = tmp_path / "elsewhere"
        place.mkdir()
        (tmp_path / ".env").rename(place / ".env")
        (tmp_path / ".env").symlink_to("elsewhere/.env")
    left = [place / "..env.abcd_123", tmp_path / "..deployed.abcdefgh", tmp_path / "pki" / ".rotation" / "ca-0-key.pem"]
    left.append(tmp_path / "pki" / ".ca-0-key.pem.abcdefgh")
    mine = [tmp_path / ".env.20261125-120000", tmp_path / "..env.backup-of-mine", tmp_path / ".env.swp"]
    (tmp_path / "pki" / ".rotation").mkdir()
    for path in [*left, *mine]:
        path.write_text("secret")
    run(tmp_path, "secrets", "rotate", "JSON_WEB_TOKEN_SECRET", "--yes")
    assert not [path for path in left if path.exists()] and not (tmp_path / "pki" / ".rotation").exists()
    assert all(path.exists() for path in mine)


@pytest.mark.parametrize("file", [".env", "pki", "pki/ca-0-key.pem", "pki/ca-0.pem", "pki/api.key"])
def test_what_lies_on_a_disk_that_is_not_mounted_is_not_made_anew(tmp_path: Path, file: str) -> None:
    run(tmp_path, "config", "--dns-tld", "my.example.com")
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / file).rename(disk / "kept")
    (tmp_path / file).symlink_to(disk / "kept")
    run(tmp_path, "config")
    (disk / "kept").rename(tmp_path / "away")
    before = sorted(tmp_path.rglob("*"))
    refused = run(tmp_path, "config", "--dns-tld", "my.example.com", "--yes", code=2).stderr
    assert f"{tmp_path / file}: is a symbolic link to {disk / 'kept'}, which " in refused
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "words", [["config", "--yes"], ["stack", "render"], ["secrets", "rotate", "JSON_WEB_TOKEN_SECRET"], ["showpass"]]
)
def test_settings_that_were_put_aside_are_not_made_anew(tmp_path: Path, words: list[str]) -> None:
    """As where `config --from-cluster` is killed half-way."""
    (tmp_path / ".env.20261124-120000").write_text("DNS_TLD=older.example.com\n")
    (tmp_path / ".env.20261125-120000").write_text("DNS_TLD=my.example.com\n")
    refused = run(tmp_path, *words, code=2, environment={"DNS_TLD": "my.example.com"} if words[0] == "config" else {})
    assert ".env.20261125-120000" in refused.stderr and "config --from-cluster again" in refused.stderr
    assert not (tmp_path / ".env").exists() and not (tmp_path / "pki").exists()
    (tmp_path / ".env.20261125-120000").rename(tmp_path / ".env")
    run(tmp_path, "config", "--yes")


def test_a_lock_is_taken_over_only_where_one_is_needed(tmp_path: Path) -> None:
    done = run(tmp_path, "config", "--dns-tld", "my.example.com", "--take-over", "abc", code=2)
    assert "--take-over is valid only with --from-cluster" in done.stderr and not (tmp_path / ".env").exists()


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    """A limit on files' size stands in for a full disk: write(2) fails half-way just so."""
    limited = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
    command = [
        sys.executable,
        "-c",
        f"{limited} sys.argv[0] = 'x'; runpy.run_module('openbalena', run_name='__main__')",
    ]
    options = ["--project-directory", str(tmp_path), "config", "--dns-tld", "my.example.com"]
    done = subprocess.run(
        [*command, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=CLEAN
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / '.env'}: cannot be written: File too large")
    assert sorted(path.name for path in tmp_path.iterdir()) == [locks.NAME, "logs"]
    run(tmp_path, "config", "--dns-tld", "my.example.com")


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5])
def test_killed_half_way_the_next_run_finishes(tmp_path: Path, delay: float) -> None:
    command = [
        sys.executable,
        "-m",
        "openbalena",
        "--project-directory",
        str(tmp_path),
        "config",
        "--dns-tld",
        "a.example.com",
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=CLEAN) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
    kept = values(tmp_path) if (tmp_path / ".env").exists() else {}
    files = {path: path.read_bytes() for path in tmp_path.glob("pki/[!.]*")}
    run(tmp_path, "config", "--dns-tld", "a.example.com")
    assert kept.items() <= values(tmp_path).items()
    assert {path: path.read_bytes() for path in files} == files
    store.check_files(tmp_path / "pki", "a.example.com")


def test_an_own_certificate_goes_into_the_chain(tmp_path: Path) -> None:
    other = tmp_path / "other"
    store.ensure_files(other, "my.example.com")
    environment = {
        "HAPROXY_CRT": base64.b64encode((other / "chain.pem").read_bytes()).decode(),
        "HAPROXY_KEY": base64.b64encode((other / "chain.pem").read_bytes()).decode(),
    }
    run(tmp_path, "config", "--dns-tld", "my.example.com", environment=environment)
    assert (other / "chain.pem").read_text() in (tmp_path / "pki" / "chain.pem").read_text()
    assert "ROOT_CA" not in store.public_values(tmp_path / "pki")


def test_an_own_certificate_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    other = tmp_path / "other"
    store.ensure_files(other, "other.example.com")
    chain = base64.b64encode((other / "chain.pem").read_bytes()).decode()
    own = {"HAPROXY_CRT": chain, "HAPROXY_KEY": chain}
    done = run(tmp_path, "config", "--dns-tld", "my.example.com", environment=own, code=2)
    assert (
        "it is for other.example.com" in done.stderr
        and "a certificate for *.my.example.com covers them all" in done.stderr
    )
    assert not (tmp_path / ".env").exists() and not (tmp_path / "pki").exists()


def test_showenv_masks_and_showpass_shows(tmp_path: Path) -> None:
    run(tmp_path, "config", "--dns-tld", "my.example.com", environment={"SUPERUSER_PASSWORD": "correct-horse"})
    with (tmp_path / ".env").open("a") as stream:
        stream.write("OF_MY_OWN=perhaps-secret\n")
    shown = run(tmp_path, "showenv").stdout
    assert "DNS_TLD=my.example.com\n" in shown and "SUPERUSER_PASSWORD=********\n" in shown
    assert "correct-horse" not in shown and "perhaps-secret" not in shown
    assert "SUPERUSER_PASSWORD=correct-horse\n" in run(tmp_path, "showenv", "--reveal").stdout
    assert json.loads(run(tmp_path, "showenv", "--json").stdout)["SUPERUSER_PASSWORD"] == "********"
    assert run(tmp_path, "showpass").stdout == "correct-horse\n"


def test_showpass_before_config(tmp_path: Path) -> None:
    assert f"--project-directory {tmp_path} config" in run(tmp_path, "showpass", code=2).stderr


def test_at_a_terminal_it_asks(tmp_path: Path) -> None:
    """A wrong reply is asked again, secrets are not echoed, Enter takes the default."""
    replies = [
        ("Domain of the deployment", "https://nope"),
        ("Domain of the deployment", "my.example.com"),
        ("superuser", ""),
        ("Optional parts", "admin"),
        ("Cloudflare tunnel", "tunnel-token-value"),
        ("Let's Encrypt", ""),
        ("external PostgreSQL server? [y/N]", "y"),
        ("Host name or address of the PostgreSQL", "pg.example.com"),
        ("Port of the PostgreSQL", ""),
        ("Name of the database", ""),
        ("Database user", "me"),
        ("Password of the database", "pg-password"),
        ("external S3 object store? [y/N]", ""),
        ("NFS server? [y/N]", "maybe"),
        ("NFS server? [y/N]", "no"),
    ]
    output = converse(tmp_path, replies)
    assert "expected a domain" in output and "expected y or n, not maybe" in output
    assert "tunnel-token-value" not in output and "pg-password" not in output
    written = values(tmp_path)
    expected = {
        "DNS_TLD": "my.example.com",
        "SUPERUSER_EMAIL": "admin@my.example.com",
        "PROFILES": "admin",
        "TUNNEL_TOKEN": "tunnel-token-value",
        "EXTERNAL_POSTGRES": "true",
        "EXTERNAL_POSTGRES_HOST": "pg.example.com",
        "EXTERNAL_POSTGRES_USER": "me",
        "EXTERNAL_POSTGRES_PASSWORD": "pg-password",
        "COMPOSE_PROFILES": "internal-s3,admin,tunnel",
    }
    assert {name: value for name, value in written.items() if name not in TOKENS} == expected


def converse(directory: Path, replies: list[tuple[str, str]]) -> str:
    """Run `config` on a pseudo-terminal; each reply is typed once its question stands there."""
    process, terminal = pty.fork()
    if process == 0:
        command = [sys.executable, "-m", "openbalena", "--project-directory", str(directory), "config"]
        os.execve(sys.executable, command, CLEAN)
    output, seen, waiting, end = "", 0, list(replies), time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            output += os.read(terminal, 4096).decode()
        except OSError:  # the other side has closed the terminal
            break
        if waiting and (found := output.find(waiting[0][0], seen)) >= 0 and output.rstrip(" ").endswith((":", "]")):
            seen = found + len(waiting[0][0])
            os.write(terminal, waiting.pop(0)[1].encode() + b"\n")
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, output
    assert not waiting, output
    return output

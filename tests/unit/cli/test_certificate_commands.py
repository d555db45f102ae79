"""custom-pki, pki import and auto-pki: what they refuse, and the way back; no engine is needed."""

import base64
from pathlib import Path

import pytest

from openbalena.cli.main import main
from openbalena.pki import certificates, store
from openbalena.pki.certificates import HOSTS, Authority
from openbalena.pki.directory import ROTATION_JOURNAL
from openbalena.pki.keys import certificate_pem, key_pem, read_certificates, read_key
from openbalena.settings.variables import variables

TLD = "example.com"
TOKEN = "t" * 20


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*variables(), "OPEN_BALENA_LAB", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    assert main(["config", "--dns-tld", TLD, "--yes", "--project-directory", str(directory)]) == 0
    capsys.readouterr()
    return directory


@pytest.fixture
def own(tmp_path: Path) -> list[str]:
    """The options for a certificate of another CA."""
    directory = tmp_path / "own"
    store.ensure_files(directory, TLD)
    key, authority = key_pem(read_key(directory / "chain.pem")), directory / "ca-bundle.pem"
    chain = (directory / "chain.pem").read_bytes().replace(key, b"").replace(authority.read_bytes(), b"")
    (directory / "own.pem").write_bytes(chain + (directory / "server-ca-0.pem").read_bytes())
    (directory / "own.key").write_bytes(key)
    return ["--certificate", f"{directory}/own.pem", "--key", f"{directory}/own.key", "--ca", str(authority)]


@pytest.mark.parametrize("command", [["custom-pki"], ["pki", "import"]])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "error: no certificate given: use --certificate and --key, or set HAPROXY_CRT and HAPROXY_KEY\n"),
        (["--certificate", "own.pem"], "error: --certificate and --key must be given together\n"),
    ],
)
def test_what_is_not_named_is_asked_for(
    command: list[str], words: list[str], says: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *words, "--project-directory", str(project)]) == 2
    assert capsys.readouterr().err == says


def test_there_and_back_leaves_the_settings_as_they_were(project: Path, own: list[str]) -> None:
    env, where = (project / ".env").read_text(), ["--project-directory", str(project)]
    old, bundle = ((project / "pki" / name).read_bytes() for name in ("chain.pem", "ca-bundle.pem"))
    assert main(["pki", "import", *own, *where]) == 0
    assert "\nROOT_CA=" in (project / ".env").read_text() and not store.serves_own(project / "pki")
    for _ in range(2):
        assert main(["pki", "import", "--remove", *where]) == 0
        assert (project / ".env").read_text() == env
        assert store.serves_own(project / "pki") and (project / "pki" / "chain.pem").read_bytes() != old
        assert (project / "pki" / "ca-bundle.pem").read_bytes() == bundle


def test_a_certificate_that_names_each_host_is_used_and_given_up_again(
    project: Path, own: list[str], tmp_path: Path
) -> None:
    where, directory, file = ["--project-directory", str(project)], tmp_path / "own", tmp_path / "own" / "own.pem"
    issuer = Authority(read_certificates(directory / "server-ca-0.pem")[0], read_key(directory / "server-ca-0-key.pem"))
    names = [f"{host}.{TLD}" for host in HOSTS]
    leaf = certificate_pem(certificates.server(read_key(directory / "own.key"), names, TLD, issuer))
    file.write_bytes(leaf + (directory / "server-ca-0.pem").read_bytes())
    assert main(["pki", "import", *own, *where]) == 0
    assert main(["lint", *where]) == 0
    assert main(["pki", "import", "--remove", *where]) == 0
    assert main(["lint", *where]) == 0 and store.serves_own(project / "pki")


@pytest.mark.parametrize("command", [["custom-pki"], ["pki", "import"]])
def test_a_private_ca_that_was_not_given_is_asked_for(
    command: list[str], project: Path, own: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The deployment would be down: no service trusts what HAProxy serves."""
    before = {path: path.read_bytes() for path in (project / ".env", project / "pki" / "chain.pem")}
    assert main([*command, *own[:4], "--project-directory", str(project)]) == 2
    assert "it was not issued by a public CA that this machine trusts" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_file_that_is_no_pem_is_named(
    number: int, project: Path, own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content, said in (b"\x30\x82", "PEM form"), (b"-" * 2**20 + b"-", "expected a PEM file"):
        wrong = tmp_path / "wrong"
        wrong.write_bytes(content)
        words = [*own[:number], str(wrong), *own[number + 1 :]]
        assert main(["pki", "import", *words, "--project-directory", str(project)]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {wrong}: ") and said in error


@pytest.mark.parametrize("words", [[], ["--remove"]])
@pytest.mark.parametrize(
    ("broken", "said"),
    [(ROTATION_JOURNAL, "a step of the CA rotation was interrupted"), ("ca-0.pem", "ca-0.pem: missing: run ")],
)
def test_nothing_is_written_beside_a_pki_that_is_not_whole(
    words: list[str], broken: str, said: str, project: Path, own: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if broken == ROTATION_JOURNAL:
        (project / "pki" / ROTATION_JOURNAL).write_text("{}")
    else:
        (project / "pki" / broken).unlink()
    with (project / ".env").open("a") as file:
        file.write("ROOT_CA=" + base64.b64encode((project / "pki" / "ca-bundle.pem").read_bytes()).decode() + "\n")
    before = {path: path.read_bytes() for path in (project / ".env", project / "pki" / "chain.pem")}
    assert main(["pki", "import", *(words or own), "--project-directory", str(project)]) == 2
    assert said in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("command", [["pki", "import"], ["custom-pki"]])
def test_the_way_back_is_refused_where_something_else_would_win(
    command: list[str],
    project: Path,
    own: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [*command, "--remove", "--project-directory", str(project)]
    before = (project / "pki" / "chain.pem").read_bytes()
    assert main([*words, *own]) == 2
    assert "leave out the files" in capsys.readouterr().err
    monkeypatch.setenv("ROOT_CA", base64.b64encode((project / "pki" / "ca-0.pem").read_bytes()).decode())
    assert main(words) == 2
    assert "environment variable ROOT_CA takes precedence over .env: unset it" in capsys.readouterr().err
    monkeypatch.delenv("ROOT_CA")
    with (project / ".env").open("a") as file:
        file.write(f"ACME_EMAIL=me@example.com\nGANDI_API_TOKEN={TOKEN}\n")
    line = (project / ".env").read_text().splitlines().index("ACME_EMAIL=me@example.com") + 1
    assert main(words) == 2
    assert f"{project / '.env'}:{line}: ACME_EMAIL is set" in capsys.readouterr().err
    assert (project / "pki" / "chain.pem").read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "/.env: ACME_EMAIL is not set: set it to the account's address, and CLOUDFLARE_API_TOKEN or"),
        ({"ACME_EMAIL": "me@example.com"}, ":{line}: ACME_EMAIL is set without a DNS provider's token"),
        ({"GANDI_API_TOKEN": TOKEN}, ":{line}: GANDI_API_TOKEN is set without ACME_EMAIL"),
        (
            {"ACME_EMAIL": "me@example.com", "CLOUDFLARE_API_TOKEN": TOKEN, "GANDI_API_TOKEN": TOKEN},
            "GANDI_API_TOKEN and CLOUDFLARE_API_TOKEN are both set: expected one DNS provider",
        ),
    ],
)
def test_auto_pki_refuses_settings_that_do_not_fit(
    settings: dict[str, str], said: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (project / ".env").read_text()
    line = text.count("\n") + 1
    text += "".join(f"{name}={value}\n" for name, value in settings.items())
    (project / ".env").write_text(text)
    assert main(["auto-pki", "--project-directory", str(project)]) == 2
    error = capsys.readouterr().err
    assert said.format(line=line) in error and TOKEN not in error
    assert (project / ".env").read_text() == text


def test_auto_pki_is_refused_beside_a_certificate_of_ones_own(
    project: Path, own: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["pki", "import", *own, "--project-directory", str(project)]) == 0
    monkeypatch.setenv("ACME_EMAIL", "me@example.com")
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
    capsys.readouterr()
    assert main(["auto-pki", "--project-directory", str(project)]) == 2
    assert "HAPROXY_CRT (a custom certificate) and ACME_EMAIL" in capsys.readouterr().err


def test_auto_pki_keeps_what_the_environment_says(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_EMAIL", "me@example.com")
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
    monkeypatch.setenv("PATH", str(project))
    assert main(["auto-pki", "--project-directory", str(project)]) == 1
    captured = capsys.readouterr()
    assert "Install the Docker CLI" in captured.err and TOKEN not in captured.err + captured.out
    env = (project / ".env").read_text()
    assert (
        f"\nCLOUDFLARE_API_TOKEN={TOKEN}\n" in env and "\nCOMPOSE_PROFILES=internal-postgres,internal-s3,acme\n" in env
    )

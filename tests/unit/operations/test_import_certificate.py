"""A custom certificate: what is refused with nothing changed, where it is put, and the way back."""

import os
import re
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hearing import Listener

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.operations.import_certificate import (
    ImportCertificateOptions,
    ImportCertificateResult,
    import_certificate,
)
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.operations.workspace import Workspace
from openbalena.pki import custom_certificate, store
from openbalena.pki.keys import certificate_pem, read_certificates

DOMAIN = "my.example.com"
NAMES = ("HAPROXY_CRT", "HAPROXY_KEY", "ROOT_CA")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The PKI of another CA, which issued a certificate for the same domain."""
    directory = tmp_path_factory.mktemp("others") / "pki"
    store.ensure_files(directory, DOMAIN)
    return directory


@pytest.fixture
def workspace(project: Project) -> Workspace:
    return Workspace(project, lab=False)


@pytest.fixture
def options(others: Path) -> ImportCertificateOptions:
    """The other CA's certificate; its file has the key as well."""
    return ImportCertificateOptions(others / "chain.pem", others / "chain.pem", others / "ca-bundle.pem")


def in_env(workspace: Workspace) -> dict[str, str]:
    values = dotenv.read_file(workspace.project.env_file).values
    return {name: values[name] for name in NAMES if name in values}


def files(workspace: Workspace) -> dict[str, bytes]:
    """What an import may change."""
    project = workspace.project
    return {path.name: path.read_bytes() for path in (project.env_file, *sorted(project.pki.iterdir()))}


def test_it_is_put_into_the_settings_and_served(
    workspace: Workspace, options: ImportCertificateOptions, others: Path
) -> None:
    listener = Listener()
    result = import_certificate(options, workspace, listener)
    chain = workspace.project.pki / "chain.pem"
    assert result == ImportCertificateResult(chain, custom=True) and listener.heard == []
    written = {name: b64decode(value) for name, value in in_env(workspace).items()}
    assert written["ROOT_CA"] == (others / "ca-bundle.pem").read_bytes()
    assert written["HAPROXY_CRT"] == certificate_pem(*read_certificates(others / "chain.pem"))
    assert chain.read_bytes() == written["HAPROXY_CRT"] + written["HAPROXY_KEY"]
    assert not store.serves_own(workspace.project.pki)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (chain, workspace.project.env_file))


def test_the_same_once_more_changes_no_file(workspace: Workspace, options: ImportCertificateOptions) -> None:
    import_certificate(options, workspace, Listener())
    before, env = files(workspace), workspace.project.env_file.stat()
    assert import_certificate(options, workspace, Listener()).custom
    assert import_certificate(ImportCertificateOptions(), workspace, Listener()).custom, "from the settings"
    assert files(workspace) == before and workspace.project.env_file.stat().st_ino == env.st_ino


def test_an_env_that_is_a_link_stays_one(workspace: Workspace, options: ImportCertificateOptions) -> None:
    env = workspace.project.env_file
    env.rename(env.with_name("elsewhere.env"))
    env.symlink_to("elsewhere.env")
    for each in (options, ImportCertificateOptions(remove=True)):
        import_certificate(each, workspace, Listener())
        assert env.is_symlink() and bool(in_env(workspace)) is not each.remove


def test_of_a_public_ca_no_root_is_written(
    workspace: Workspace, options: ImportCertificateOptions, others: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custom_certificate, "public_roots", lambda: read_certificates(others / "ca-bundle.pem"))
    without = ImportCertificateOptions(options.certificate, options.key)
    assert import_certificate(without, workspace, Listener()).custom
    assert set(in_env(workspace)) == {"HAPROXY_CRT", "HAPROXY_KEY"}
    import_certificate(options, workspace, Listener())
    assert in_env(workspace)["ROOT_CA"]
    import_certificate(without, workspace, Listener())
    assert not in_env(workspace).get("ROOT_CA"), "that of the earlier one is removed"


def test_a_ca_that_is_in_use_is_passed_on_and_so_are_warnings(
    workspace: Workspace, options: ImportCertificateOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    validated = custom_certificate.validate

    def validate(*args: Any, **words: Any) -> Any:
        seen.append({**words, "domain": args[3], "names": args[4]})
        return replace(validated(*args, **words), warnings=("it expires soon",))

    monkeypatch.setattr(custom_certificate, "validate", validate)
    in_use = (workspace.project.pki / "ca-bundle.pem").read_bytes()
    with workspace.project.env_file.open("a") as file:
        file.write(f"ROOT_CA={b64encode(in_use).decode()}\n")
    listener = Listener()
    import_certificate(options, workspace, listener)
    assert listener.heard == ["warning: it expires soon"]
    assert seen[0]["in_use"] == in_use and seen[0]["domain"] == DOMAIN and seen[0]["public"] is not None
    assert seen[0]["names"] == tuple(map(str, options.files))
    import_certificate(ImportCertificateOptions(), workspace, listener)
    assert seen[1]["names"] == NAMES


def test_the_way_back(workspace: Workspace, options: ImportCertificateOptions) -> None:
    chain, back = workspace.project.pki / "chain.pem", ImportCertificateOptions(remove=True)
    assert import_certificate(back, workspace, Listener()) == ImportCertificateResult(chain, False, changed=False)
    import_certificate(options, workspace, Listener())
    assert import_certificate(back, workspace, Listener()) == ImportCertificateResult(chain, False, changed=True)
    assert in_env(workspace) == {} and store.serves_own(workspace.project.pki)
    assert workspace.project.env_file.stat().st_mode & 0o777 == 0o600
    env = workspace.project.env_file.stat()
    import_certificate(back, workspace, Listener())
    assert workspace.project.env_file.stat().st_ino == env.st_ino, "it is not written without need"


CHAIN, CA = Path("chain.pem"), Path("ca-bundle.pem")
TOGETHER = "--certificate and --key must be given together"
# Files of the other PKI, or of the test's directory; variables of the environment; what is said of them.
REFUSED: dict[str, tuple[ImportCertificateOptions, dict[str, str], str]] = {
    "nothing": (ImportCertificateOptions(), {}, "no certificate given"),
    "a certificate alone": (ImportCertificateOptions(CHAIN), {}, TOGETHER),
    "a key alone": (ImportCertificateOptions(key=CHAIN), {}, TOGETHER),
    "a CA alone": (ImportCertificateOptions(ca=CA), {}, TOGETHER),
    "no file": (ImportCertificateOptions(CHAIN, Path("no")), {}, "/no: cannot be read: No such file"),
    "a directory": (ImportCertificateOptions(CHAIN, CHAIN, Path("here")), {}, "/here: cannot be read: Is a directory"),
    "a file without an end": (ImportCertificateOptions(Path("large"), CHAIN), {}, "at most 1048576 bytes"),
    "the largest file": (
        ImportCertificateOptions(Path("largest"), CHAIN),
        {},
        "/largest: expected certificates in PEM",
    ),
    "a strange CA": (ImportCertificateOptions(CHAIN, CHAIN, Path("ours")), {}, "it was not issued by the given CA"),
    "a setting that takes precedence": (
        ImportCertificateOptions(CHAIN, CHAIN, CA),
        {"ROOT_CA": "ours"},
        "environment variable ROOT_CA differs from the file",
    ),
    "files with --remove": (ImportCertificateOptions(ca=CA, remove=True), {}, "own CA: leave out the files"),
    "a setting that --remove cannot change": (
        ImportCertificateOptions(remove=True),
        {"ROOT_CA": "ours"},
        "environment variable ROOT_CA takes precedence over .env: unset it",
    ),
    "ACME": (
        ImportCertificateOptions(CHAIN, CHAIN, CA),
        {"ACME_EMAIL": "a@example.com", "CLOUDFLARE_API_TOKEN": "x" * 40},
        "cert-manager's certificate would replace it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_nothing_changed(
    case: str, workspace: Workspace, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "large").write_bytes(b"x" * (2**20 + 1))
    (tmp_path / "largest").write_bytes(b"x" * 2**20)
    (tmp_path / "ours").write_bytes((workspace.project.pki / "ca-bundle.pem").read_bytes())
    asked, environment, said = REFUSED[case]
    chain, key, ca = (each and (others / each if (others / each).exists() else tmp_path / each) for each in asked.files)
    for name, value in environment.items():
        monkeypatch.setenv(name, b64encode((tmp_path / value).read_bytes()).decode() if name == "ROOT_CA" else value)
    before = files(workspace)
    with pytest.raises(UsageError, match=re.escape(said)):
        import_certificate(ImportCertificateOptions(chain, key, ca, asked.remove), workspace, Listener())
    assert files(workspace) == before


@pytest.mark.parametrize("remove", [True, False])
def test_a_rotation_that_was_interrupted_is_not_overwritten(
    remove: bool, workspace: Workspace, options: ImportCertificateOptions
) -> None:
    (workspace.project.pki / "server-ca-0.pem").unlink()
    before = files(workspace)
    with pytest.raises(UsageError, match=r"server-ca-0\.pem: missing: run \./open-balena\.sh config"):
        import_certificate(ImportCertificateOptions(remove=True) if remove else options, workspace, Listener())
    assert files(workspace) == before


def test_it_waits_for_no_other_command(workspace: Workspace, options: ImportCertificateOptions) -> None:
    before = files(workspace)
    with exclusive_lock(workspace.project.directory), pytest.raises(OperationError, match="another command"):
        import_certificate(options, workspace, Listener())
    assert files(workspace) == before


def test_the_shell_s_pipes_are_read(workspace: Workspace, options: ImportCertificateOptions, others: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, (others / "chain.pem").read_bytes())
    os.close(writer)
    piped = ImportCertificateOptions(options.certificate, Path(f"/dev/fd/{reader}"), options.ca)
    assert import_certificate(piped, workspace, Listener()).custom
    os.close(reader)

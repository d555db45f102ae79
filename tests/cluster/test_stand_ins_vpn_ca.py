"""The stand-ins of vpn and balena-ca refuse what the real images refuse, and take what the stack gives them."""

import json
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from waiting import answer, eventually

from openbalena.base.errors import OperationError
from openbalena.base.project import ROOT
from openbalena.docker.engine import Engine
from openbalena.lab import Endpoint, base
from openbalena.operations.engines import default_engine
from openbalena.pki import ca_rotation, store

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

DOMAIN = "t.example"
KEYS = ("ca-0-key.pem", "server-ca-0-key.pem", "ocsp-key.pem")
CERTIFICATES = ("ca-0.pem", "server-ca-0.pem", "ocsp.pem", "issued.sql")
# Puts `file=base64` words where the stack mounts secrets and configs, read-only, and goes on with the command after --.
_MOUNTED = """
until [ "$1" = -- ]; do
    mkdir -p "$(dirname "${1%%=*}")" && echo "${1#*=}" | base64 -d >"${1%%=*}" && chmod 0400 "${1%%=*}"
    mount --bind "${1%%=*}" "${1%%=*}" && mount -o remount,bind,ro "${1%%=*}"
    shift
done
shift
exec /bin/bash "$@"
"""
_OPENVPN = """
mkdir -p /dev/net && [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
python3 -m standin.render
openvpn --config /etc/vpn/openvpn.conf --dev tun1 --port 10001 --server 100.64.0.0 255.255.0.0 >/tmp/said 2>&1 &
until grep -q -e 'Initialization Sequence Completed' -e 'Exiting due to' /tmp/said; do sleep 0.2; done
cat /tmp/said
"""


@pytest.fixture(scope="module")
def engine(lab: Endpoint) -> Engine:
    found = default_engine(lab=True)
    base.ensure_base_image(found)
    return found


@pytest.fixture(scope="module")
def image(engine: Engine) -> Callable[[str], str]:
    """Build a service's stand-in and say its name."""

    def build(service: str) -> str:
        name, argument = f"openbalena-lab/test-{service}", f"BASE={base.IMAGE}"
        engine.docker("build", "--tag", name, "--build-arg", argument, str(ROOT / "lab" / service), timeout=120)
        return name

    return build


@pytest.fixture
def start(engine: Engine) -> Iterator[Callable[..., str]]:
    """`start(WORDS)` is `docker run --detach WORDS`; returns the container's name, which is removed at the end."""
    names: list[str] = []

    def run(*words: str) -> str:
        names.append(f"test-{secrets.token_hex(4)}")
        engine.docker("run", "--detach", "--name", names[-1], *words, timeout=120)
        return names[-1]

    yield run
    for name in names:
        engine.docker("rm", "--force", "--volumes", name, timeout=60)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    store.ensure_files(tmp_path / "pki", DOMAIN)
    return tmp_path / "pki"


def encoded(path: Path) -> str:
    return b64encode(path.read_bytes()).decode()


def mounted(directory: Path, places: dict[str, str]) -> list[str]:
    return [f"{place}={encoded(directory / name)}" for name, place in places.items()]


def in_stack(service: str) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((ROOT / "docker-stack.yml").read_text())["services"][service]
    return found


def authority(start: Callable[..., str], name: str, files: list[str], command: list[str]) -> str:
    """A container of balena-ca with `files` mounted read-only, and with `command` for the image's entry point."""
    options = ("--privileged", "--tmpfs", "/run/pki", "--env", f"DNS_TLD={DOMAIN}", "--entrypoint", "sh")
    return start(*options, name, "-c", _MOUNTED, "sh", *files, "--", *command)


def test_authority_does_not_serve_where_its_keys_mode_cannot_be_changed(
    engine: Engine, image: Callable[[str], str], start: Callable[..., str], made: Path
) -> None:
    files = mounted(made, {name: f"/pki/{name}" for name in (*KEYS, *CERTIFICATES)})
    name = authority(start, image("balena-ca"), files, ["-c", "exec /usr/local/bin/entry.sh 2>&1"])
    eventually("chmod fails", lambda: "Read-only file system" in engine.docker("logs", name))
    answer(lambda: engine.docker("exec", name, "bash", "-c", "exec 3<>/dev/tcp/localhost/8889"))
    with pytest.raises(OperationError):
        engine.docker("exec", name, "curl", "--silent", "--head", "--fail", "localhost:8888")
    assert engine.docker("inspect", "--format", "{{.State.Running}}", name).strip() == "true"


def test_authority_serves_as_the_stack_runs_it_and_keeps_what_it_issued(
    engine: Engine, image: Callable[[str], str], start: Callable[..., str], made: Path
) -> None:
    stack = in_stack("balena-ca")
    targets = [mount["target"] for key in ("secrets", "configs") for mount in stack[key]]  # type: ignore[attr-defined]
    assert {Path(target).name for target in targets} == {*KEYS, *CERTIFICATES}
    command = [word.replace("$$", "$") for word in stack.get("command", ["-c", "/usr/local/bin/entry.sh"])]  # type: ignore[attr-defined]
    files = [*mounted(made, {Path(target).name: target for target in targets})]
    work = stack["environment"].get("PKI", "/pki")  # type: ignore[attr-defined]
    name = authority(start, image("balena-ca"), files, ["-c", f'export PKI={work}; exec bash "$@"', "bash", *command])
    serves = ("exec", name, "curl", "--silent", "--show-error", "--fail", "localhost:8888/api/v1/cfssl")
    body = json.dumps({"request": {"CN": "x", "hosts": ["x"]}})
    issued = json.loads(answer(lambda: engine.docker(*serves[:-1], f"{serves[-1]}/newcert", "--data", body)))
    assert "BEGIN CERTIFICATE" in issued["result"]["certificate"]
    modes = engine.docker("exec", name, "sh", "-c", f"stat -Lc %a {work}/*-key.pem").split()
    assert modes == ["600"] * 3
    # Keys stay in memory: what lasts is what was issued.
    assert engine.docker("exec", name, "ls", "/pki").split() == ["balena.db", "ocsp_responses"]
    assert "tmpfs" in engine.docker("exec", name, "stat", "-f", "-c", "%T", work)
    engine.docker("restart", "--time", "1", name, timeout=60)
    answer(lambda: engine.docker("exec", name, "curl", "--silent", "--head", "--fail", "localhost:8888"))
    known = "import sqlite3; print(*sqlite3.connect('/pki/balena.db').execute('SELECT pem FROM certificates'))"
    # Those of the project's files, and the issued one, of which the entry's refresh has made an answer.
    assert engine.docker("exec", name, "python3", "-c", known).count("BEGIN CERTIFICATE") == 4
    assert len(engine.docker("exec", name, "cat", "/pki/ocsp_responses").split()) == 4
    # What the stack's command does every 12 hours: answers end after 96.
    [renew] = [line.partition("do ")[2].partition(";")[0] for line in command[-1].splitlines() if "12h" in line]
    dated = ("exec", name, "stat", "--format", "%y", "/pki/ocsp_responses")
    before = engine.docker(*dated)
    engine.docker("exec", "--workdir", str(work), name, "sh", "-c", renew)
    eventually("answers are signed anew", lambda: engine.docker(*dated) != before)


def test_vpn_does_not_start_without_production_mode(
    engine: Engine, image: Callable[[str], str], start: Callable[..., str]
) -> None:
    name = start("--env", f"TLD={DOMAIN}", "--env", "TOKENS_CONFIG=,", "--env", "VPN_PORT=443", image("vpn"))
    eventually("it says so", lambda: "ERROR: Invalid command" in engine.docker("logs", name))
    with pytest.raises(OperationError):
        engine.docker("exec", name, "/usr/src/app/docker-hc")
    assert engine.docker("inspect", "--format", "{{.State.Running}}", name).strip() == "true"
    assert in_stack("vpn")["environment"]["PRODUCTION_MODE"] == "true"  # type: ignore[index]


def openvpn(engine: Engine, image: str, directory: Path, root_ca: str, own: str) -> str:
    """What OpenVPN says with the files of `directory` and these two variables; until it runs or has ended."""
    values = {
        "VPN_OPENVPN_SERVER_KEY": encoded(directory / "vpn.key"),
        "VPN_OPENVPN_SERVER_CRT": encoded(directory / "vpn.pem"),
        "VPN_OPENVPN_SERVER_DH": encoded(directory / "dhparam.pem"),
        "ROOT_CA": root_ca,
        "VPN_OPENVPN_CA_CRT": own,
    }
    options = [word for item in values.items() for word in ("--env", "=".join(item))]
    return engine.docker("run", "--rm", "--cap-add", "NET_ADMIN", "--entrypoint", "sh", *options, image, "-c", _OPENVPN)


@pytest.mark.parametrize("steps", range(4))
def test_openvpn_takes_its_authorities_in_each_phase_of_a_rotation(
    engine: Engine, image: Callable[[str], str], made: Path, steps: int
) -> None:
    for _ in range(steps):
        ca_rotation.advance_rotation(made, DOMAIN)
    name, root_ca = image("vpn"), encoded(made / "ca-bundle.pem")
    for trusted in (root_ca, ""):
        said = openvpn(engine, name, made, trusted, store.vpn_authorities(made, trusted))
        assert "Initialization Sequence Completed" in said, said
    # What the image would take without the variable.
    assert "Cannot load CA certificate file" in openvpn(engine, name, made, root_ca, encoded(made / "vpn.pem"))

"""Bits of a repository flip: a backup is then refused, or all that it has is provably what was saved."""

import base64
import hashlib
import json
import os
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from backup_facts import MANIFEST
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.poly1305 import Poly1305
from restic import Machine, programs

from openbalena.backup import results, scripts, trial
from openbalena.backup.manifest import Manifest
from openbalena.base.names import BACKUP_SECRETS

PASSWORD = "a password"
OPTIONS = scripts.options("my.example.com", ["set=s1", "part=p"])
FLIPS = 100


def keys(key: dict[str, object]) -> tuple[bytes, bytes]:
    """What encrypts, and what signs, the repository's key (restic, doc/design.rst, Keys, Encryption and MAC)."""
    cost = {"n": key["N"], "r": key["r"], "p": key["p"]}
    derived = Scrypt(base64.b64decode(str(key["salt"])), 64, **cost).derive(PASSWORD.encode())  # type: ignore[arg-type]
    return derived[:32], derived[32:]


def mac(signing: bytes, nonce: bytes, text: bytes) -> bytes:
    """Poly1305-AES; the library masks the second half of the key itself."""
    hidden = Cipher(algorithms.AES(signing[:16]), modes.ECB()).encryptor().update(nonce)  # noqa: S305 - as restic does
    return Poly1305.generate_tag(signing[16:] + hidden, text)


def crypt(secret: bytes, nonce: bytes, text: bytes) -> bytes:
    return Cipher(algorithms.AES(secret), modes.CTR(nonce)).encryptor().update(text)


def cheapen(repository: Path) -> None:
    """Give the repository's key a cheap derivation: restic's own takes half a second of each of its starts."""
    (path,) = (repository / "keys").iterdir()
    key = json.loads(path.read_text())
    sealed = base64.b64decode(key["data"])
    nonce, text, signature = sealed[:16], sealed[16:-16], sealed[-16:]
    secret, signing = keys(key)
    assert mac(signing, nonce, text) == signature
    opened = crypt(secret, nonce, text)
    key.update(N=2, r=1, p=1)
    secret, signing = keys(key)
    text = crypt(secret, nonce, opened)
    key["data"] = base64.b64encode(nonce + text + mac(signing, nonce, text)).decode()
    content = json.dumps(key).encode()
    path.unlink()
    (path.parent / hashlib.sha256(content).hexdigest()).write_bytes(content)


def environment(machine: Machine) -> dict[str, str]:
    values = {"RESTIC_REPOSITORY": str(machine.directory / "repository"), "RESTIC_PASSWORD": PASSWORD}
    return {**os.environ, **values, "PATH": programs("restic")}


def content(machine: Machine, manifest: Manifest) -> list[bytes]:
    """All that the backup has."""
    names = {"settings": "settings.tar.gz", "s3-data": str(machine.directory / "volumes" / "s3-data" / "object")}
    return [
        subprocess.run(
            ["restic", "--no-cache", "--no-lock", "dump", manifest.parts[part].snapshot, name],
            env=environment(machine),
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout
        for part, name in names.items()
    ]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """With a repository that is cheap to open, and something to save."""
    made = Machine(tmp_path)
    address = tmp_path / "repository"
    made.secret(BACKUP_SECRETS[0], f"export RESTIC_REPOSITORY='{address}' RESTIC_PASSWORD='{PASSWORD}'\n")
    (tmp_path / "volumes" / "s3-data").mkdir(parents=True)
    (tmp_path / "volumes" / "s3-data" / "object").write_bytes(random.Random(1).randbytes(20_000))
    packed = str(tmp_path / "secrets" / "settings.tar.gz")
    subprocess.run(["tar", "-czf", packed, "-C", str(tmp_path / "volumes"), "s3-data"], check=True, timeout=60)
    subprocess.run(["restic", "init", "--quiet"], env=environment(made), check=True, timeout=60)
    cheapen(address)
    return made


def test_a_flipped_bit_is_found_or_changes_nothing(machine: Machine) -> None:
    volume = results.saved_part(machine.run(scripts.save_volume("s3-data", OPTIONS)).lines)
    stored = results.saved_part(machine.run(scripts.save_file("settings.tar.gz", "settings.tar.gz", OPTIONS)).lines)
    manifest = replace(MANIFEST, parts={"database": volume, "s3-data": volume, "settings": stored})
    (machine.directory / "trial").mkdir()
    script = trial.check_script(manifest, 100)
    good = machine.run(script)
    assert good.code == 0, good
    before = content(machine, manifest)
    chance = random.Random(22)
    files = sorted(path for path in (machine.directory / "repository").rglob("*") if path.is_file())
    refused = 0
    for _ in range(FLIPS):
        path = chance.choice(files)
        kept = path.read_bytes()
        place, bit = chance.randrange(len(kept)), chance.randrange(8)
        path.chmod(0o600)
        path.write_bytes(kept[:place] + bytes([kept[place] ^ 1 << bit]) + kept[place + 1 :])
        ended = machine.run(script)
        if ended.code == 0:
            assert content(machine, manifest) == before, (path, place, bit)
        else:
            assert ended.code == 1 and ended.lines, (path, place, bit, ended)
            refused += 1
        path.write_bytes(kept)
    assert refused > FLIPS * 0.9
    assert machine.run(script).code == 0

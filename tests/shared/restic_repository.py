"""An empty restic repository that is cheap to open: restic itself makes each opening take half a second."""

import base64
import functools
import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.poly1305 import Poly1305
from restic import programs

PASSWORD = "a password"


def make(repository: Path) -> None:
    """Create it at `repository`, with PASSWORD. Each has the same id and key."""
    for name, content in _files().items():
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)


@functools.cache
def _files() -> dict[str, bytes | None]:
    """The directories (None) and files of one that restic has made, with another key file."""
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / "repository"
        environment = {"RESTIC_REPOSITORY": str(made), "RESTIC_PASSWORD": PASSWORD, "PATH": programs("restic")}
        subprocess.run(["restic", "init", "--quiet"], env={**os.environ, **environment}, check=True, timeout=120)
        (key,) = (made / "keys").iterdir()
        content = _cheapened(json.loads(key.read_text()))
        key.unlink()
        (made / "keys" / hashlib.sha256(content).hexdigest()).write_bytes(content)
        return {str(path.relative_to(made)): path.read_bytes() if path.is_file() else None for path in made.rglob("*")}


def _cheapened(key: dict[str, Any]) -> bytes:
    """The key file with the same key (restic, doc/design.rst: Keys, Encryption and MAC)."""
    sealed = base64.b64decode(key["data"])
    nonce, text, signature = sealed[:16], sealed[16:-16], sealed[-16:]
    secret, signing = _derived(key)
    assert _mac(signing, nonce, text) == signature
    opened = _crypt(secret, nonce, text)
    key.update(N=2, r=1, p=1)
    secret, signing = _derived(key)
    text = _crypt(secret, nonce, opened)
    key["data"] = base64.b64encode(nonce + text + _mac(signing, nonce, text)).decode()
    return json.dumps(key).encode()


def _derived(key: dict[str, Any]) -> tuple[bytes, bytes]:
    """What encrypts, and what signs, the key of the repository."""
    derived = Scrypt(base64.b64decode(key["salt"]), 64, key["N"], key["r"], key["p"]).derive(PASSWORD.encode())
    return derived[:32], derived[32:]


def _mac(signing: bytes, nonce: bytes, text: bytes) -> bytes:
    """Poly1305-AES; the library itself masks the half of its key that has to be."""
    hidden = Cipher(algorithms.AES(signing[:16]), modes.ECB()).encryptor().update(nonce)  # noqa: S305 - as restic does
    return Poly1305.generate_tag(signing[16:] + hidden, text)


def _crypt(secret: bytes, nonce: bytes, text: bytes) -> bytes:
    return Cipher(algorithms.AES(secret), modes.CTR(nonce)).encryptor().update(text)

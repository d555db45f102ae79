"""What redis's command of docker-compose.yml makes of the passwords before it starts the server."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from openbalena.base.project import ROOT

# In the place of the image's entry: shows what it was called with, and which passwords it sees.
_ENTRY = """#!/bin/sh
echo "$@"
env | grep -c PASSWORD
cat "$2"
"""


def started(directory: Path, secret: str, **environment: str) -> tuple[str, dict[str, list[str]]]:
    """What the entry sees, and each user's words, where /run is `directory`."""
    (directory / "redis").mkdir()
    (directory / "secrets").mkdir()
    programs = directory / "programs"
    programs.mkdir()
    for name, text in (("docker-entrypoint.sh", _ENTRY), ("chown", "#!/bin/sh\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    if secret:
        (directory / "secrets" / "redis.env").write_text(secret)
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    *shell, script = document["services"]["redis"]["command"]
    done = subprocess.run(
        [*shell, script.replace("$$", "$").replace("/run/", f"{directory}/")],
        env={"PATH": f"{programs}:{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    assert (directory / "redis" / "users.conf").stat().st_mode & 0o777 == 0o600
    arguments, seen, *users = done.stdout.splitlines()
    assert seen == "0", "an image's entry would take REDIS_PASSWORD for itself"
    return arguments, {line.split()[1]: line.split()[2:] for line in users}


def accepted(*passwords: str) -> list[str]:
    return [f"#{hashlib.sha256(password.encode()).hexdigest()}" for password in passwords]


def test_redis_gets_hashes_of_the_passwords_alone(tmp_path: Path) -> None:
    new, old, registry = "a$b`c;&x#=1!*%s", "old-one=", "%d~#x$(id)"
    lines = f"REDIS_PASSWORD={new}\nREDIS_PASSWORD_PREVIOUS={old}\nREGISTRY2_CACHE_PASSWORD={registry}\n"
    arguments, users = started(tmp_path, lines)
    assert arguments == f"redis-server {tmp_path}/redis/users.conf --tcp-keepalive 30"
    assert users["default"] == ["reset", "on", *accepted(new, old), "~*", "&*", "+@all", "-@admin"]
    assert users["registry"][:6] == ["reset", "on", *accepted(registry), "~repository::*", "~blobs::*", "-@all"]
    assert not [word for word in users["registry"] if word.startswith(("+@", "nopass", "&"))]
    assert users["health"] == ["reset", "on", "nopass", "-@all", "+ping"]


@pytest.mark.parametrize("secret", ["", "REDIS_PASSWORD=first-one\nREGISTRY2_CACHE_PASSWORD=second-one\n"])
def test_the_passwords_come_from_the_environment_or_from_a_file(secret: str, tmp_path: Path) -> None:
    environment = {} if secret else {"REDIS_PASSWORD": "first-one", "REGISTRY2_CACHE_PASSWORD": "second-one"}
    _, users = started(tmp_path, secret, **environment)
    assert users["default"][2:3] == accepted("first-one") and users["registry"][2:3] == accepted("second-one")


def test_without_passwords_everybody_is_let_in_as_before(tmp_path: Path) -> None:
    _, users = started(tmp_path, "REDIS_PASSWORD=\nREDIS_PASSWORD_PREVIOUS=\nREGISTRY2_CACHE_PASSWORD=\n")
    assert users["default"] == ["reset", "on", "nopass", "~*", "&*", "+@all", "-@admin"]
    assert not [word for word in users["registry"] if word == "nopass" or word[0] == "#"], "nobody is that user"

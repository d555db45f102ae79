"""The programs of images/backup as this machine or Debian has them; scripts of a backup run by this machine's sh."""

import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import debian
from waiting import BOUND

from openbalena.backup import scripts


def programs(*packages: str) -> str:
    """A PATH on which the programs of `packages` come first; those of this machine otherwise."""
    found = [shutil.which(name) or str(debian.program(name, f"usr/bin/{name}")) for name in packages]
    return os.pathsep.join([*dict.fromkeys(str(Path(path).parent) for path in found), os.environ["PATH"]])


@dataclass(frozen=True)
class Ended:
    """Exit code and lines of a script."""

    code: int
    lines: list[str]


@dataclass(frozen=True)
class Machine:
    """Directories in place of those of a container, below `directory`."""

    directory: Path

    def secret(self, name: str, content: str) -> None:
        """Give later scripts this secret."""
        (self.directory / "secrets").mkdir(exist_ok=True)
        (self.directory / "secrets" / name).write_text(content)

    def text(self, script: str) -> str:
        """The script with this machine's directories."""
        scratch = self.directory / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        places = {"/tmp": scratch, scripts.SECRETS: self.directory / "secrets"}
        places |= {scripts.VOLUMES: self.directory / "volumes", scripts.DIRECTORY: self.directory / "repository"}
        places[scripts.TRIAL] = self.directory / "trial"
        for there, here in places.items():
            script = re.sub(rf"(?<!\w){there}\b", str(here), script)
        return script

    def run(self, script: str, limit: float | None = None) -> Ended:
        """Run it to its end, or kill all its processes after `limit` seconds."""
        process = subprocess.Popen(
            ["sh", "-c", self.text(script)],
            env={**os.environ, "PATH": programs("restic", "rclone")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=BOUND if limit is None else limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate(timeout=BOUND)
            assert limit is not None, said
        return Ended(process.returncode, said.splitlines())

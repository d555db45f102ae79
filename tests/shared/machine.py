"""One machine with a deployment of its own: the commands as a user calls them, and what is there to look at."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from output import assert_plain
from waiting import BOUND

from openbalena import settings, verify
from openbalena.base.project import ROOT, Project
from openbalena.lab import Endpoint

DNS_TLD = "openbalena.test"
# Seconds for one command: up itself gives up after 600, with the services that are not ready.
_PATIENCE = 660


def environment() -> dict[str, str]:
    """That of a process that runs the command line."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


@dataclass(frozen=True)
class Machine:
    """The deployment in `directory` on the lab's first node."""

    directory: Path
    lab: Endpoint

    def run(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """One command of the command line, without a terminal; `code` is the exit code it has to have."""
        done = subprocess.run(
            self.command(*words),
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        assert_plain(self.project, words, done.stdout + done.stderr)
        assert code is None or done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def kill(self, step: str, *words: str) -> None:
        """Kill that command when it says `step`, which it has to."""
        with subprocess.Popen(
            self.command(*words),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as command:
            for line in command.stderr or ():
                if step in line:
                    command.kill()
        assert command.returncode == -signal.SIGKILL, f"{words} never said {step}"

    def command(self, *words: str) -> list[str]:
        """The command line's words."""
        return [sys.executable, "-m", "openbalena", "--lab", "--project-directory", str(self.directory), *words]

    def docker(self, *words: str) -> str:
        """What the docker program says on the first node."""
        command = [str(self.lab.cli), "--host", self.lab.host, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=BOUND).stdout

    @property
    def project(self) -> Project:
        return Project(directory=self.directory)

    @property
    def name(self) -> str:
        """The Compose project's."""
        return self.directory.name

    @property
    def volumes(self) -> set[str]:
        return set(self.docker("volume", "ls", "--quiet", "--filter", f"name={self.name}_").split())

    def containers(self) -> dict[str, str]:
        """Name to id of each container of the deployment that runs."""
        listed = self.docker("ps", "--no-trunc", "--format", "{{.Names}} {{.ID}}", "--filter", f"name={self.name}-")
        return dict(line.split() for line in listed.splitlines())

    @property
    def env(self) -> str:
        return (self.directory / ".env").read_text()

    def status(self) -> dict[str, str]:
        """Each service's state."""
        listed: dict[str, Any] = json.loads(self.run("status", "--json", code=None).stdout)
        return {service["service"]: service["state"] for service in listed["services"]}

    def target(self, authority: str | None = None, tokens: Mapping[str, str] | None = None) -> verify.Target:
        """The deployment as the acceptance checks see it, by the CA in `authority` and with `tokens` where given."""
        values = settings.read(self.project)
        return verify.Target(
            dns_tld=values["DNS_TLD"],
            addresses=(self.lab.nodes[0].address,),
            authority=authority or verify.authority(values, Path(values["PKI_DIR"])),
            values={**values, **values.secrets, **(tokens or {})},
            openvpn=self.lab.cli.parent / "openvpn",
        )

"""A small deployment for the tests of the cluster commands: the same settings, x-swarm words and commands as the real
one, with three services that start in a second, from an image that holds nothing but busybox."""

import io
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from output import assert_plain

from openbalena.base.errors import OpenBalenaError
from openbalena.base.project import Project
from openbalena.cli.commands import BY_NAME
from openbalena.cli.console import Context
from openbalena.cli.options import command_parser, run_command
from openbalena.operations.engines import default_engine
from openbalena.pki import store, tokens

COMPOSE = """\
x-run: &run
  image: ${API_IMAGE:-balena/open-balena-api:1}
  stop_grace_period: 2s
services:
  web:
    <<: *run
    command: ["sh", "-c", "echo started; trap 'exit 0' TERM; while true; do sleep 1 & wait $$!; done"]
    environment: {TLD: "${DNS_TLD}", TOKEN: "${COOKIE_SESSION_SECRET}", GREETING: "hello"}
    healthcheck: {test: [CMD, "true"], interval: 2s, timeout: 2s, start_period: 20s}
    x-swarm:
      healthcheck: {start_interval: 1s}
      secret_env: {target: /run/web.env, keys: [TOKEN]}
      configs: [{source: page, target: /page}]
      deploy:
        replicas: 2
        endpoint_mode: dnsrr
        placement: {preferences: [{spread: node.id}]}
        update_config: {order: start-first, failure_action: rollback, monitor: 2s}
        restart_policy: {condition: any, delay: 1s}
  store:
    <<: *run
    command: ["sh", "-c", "date >> /data/starts; >/tmp/up; trap 'exit 0' TERM; while true; do sleep 1 & wait $$!; done"]
    # It runs, to Swarm, once it has written its line.
    healthcheck: {test: [CMD, cat, /tmp/up], interval: 30s, timeout: 10s, start_period: 60s}
    volumes: [store-data:/data]
    profiles: [internal-postgres]
    x-swarm:
      healthcheck: {start_interval: 200ms}
      stateful: [store-data]
      deploy: {replicas: 1, endpoint_mode: dnsrr, restart_policy: {condition: any, delay: 1s}}
  front:
    <<: *run
    command: ["sh", "-c", "mkdir -p /www; echo front > /www/index.html; exec httpd -f -p 80 -h /www"]
    ports: [{target: 80, published: "8088", mode: host}]
    x-swarm:
      deploy:
        mode: global
        endpoint_mode: dnsrr
        placement: {constraints: ["node.labels.openbalena.ingress == true"]}
        restart_policy: {condition: any, delay: 1s}
volumes:
  store-data: {}
x-swarm:
  networks:
    default: {driver: overlay, attachable: true}
  configs:
    page: {file: ./page}
"""
# docker-compose.mesh.yml of this deployment.
MESH = """\
services:
  web: {x-swarm: {deploy: {endpoint_mode: vip}}}
  store: {x-swarm: {deploy: {endpoint_mode: vip}}}
  front:
    ports: [{target: 80, published: "8088", mode: ingress}]
    x-swarm: {deploy: {endpoint_mode: vip}}
"""
LAB = """\
services:
  web:
    build: {context: ./lab/web}
"""
APPLETS = (
    *("sh", "sleep", "echo", "date", "true", "httpd", "mkdir", "cat", "wget", "head"),
    *("ls", "grep", "du", "cut", "find", "stat", "readlink", "sha256sum", "sort", "tar", "nc", "rm", "mkfifo", "sync"),
    *("chroot", "chown"),
)
DOCKERFILE = 'FROM scratch\nCOPY root /\nCMD ["sh"]\n'


@dataclass
class Result:
    """What a command did: its exit code (an error's own), both its outputs, and the error's message."""

    code: int
    out: str
    err: str
    error: str = ""


class Small:
    """The small deployment in `directory`, and its commands as the command line runs them.

    They act on the lab, or on the engine that `environment` names.
    """

    def __init__(self, directory: Path, busybox: Path, environment: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.environment = environment
        self.project = Project(directory=directory, root=directory)
        context = directory / "lab" / "web"
        self.image_root = context / "root"
        (self.image_root / "bin").mkdir(parents=True)
        (self.image_root / "tmp").mkdir()
        shutil.copy2(busybox, self.image_root / "bin" / "busybox")
        for name in APPLETS:
            (self.image_root / "bin" / name).symlink_to("busybox")
        (context / "Dockerfile").write_text(DOCKERFILE)
        (context / ".dockerignore").write_text("*.md\n")
        (directory / "lab" / "docker-compose.yml").write_text(LAB.replace("./lab/web", str(context)))
        (directory / "page").write_text("one\n")
        self.compose = COMPOSE
        self.write()
        self.settings(DNS_TLD="small.example.com", SUPERUSER_EMAIL="a@small.example.com", STACK_NAME="small")
        # busybox has no `ip xfrm`, by which the nodes are tried.
        self.settings(SWARM_ENCRYPTED="false")
        store.ensure_files(self.project.pki, "small.example.com")

    def give(self, program: str) -> None:
        """Put a program of this machine's into the image, with the libraries that it loads."""
        found = shutil.which(program)
        assert found, program
        said = subprocess.run(["ldd", found], check=True, capture_output=True, text=True).stdout
        libraries = re.findall(r"/\S+", re.sub(r"\S+ =>", "", said))
        # Apart from where busybox, which is static, looks for modules of its own C library.
        place = self.image_root / "opt" / program
        place.mkdir(parents=True)
        for source in (found, *libraries):
            shutil.copy2(source, place)
        (loader,) = (Path(library).name for library in libraries if Path(library).name.startswith("ld-"))
        start = self.image_root / "bin" / program
        start.write_text(
            f'#!/bin/sh\nexec /opt/{program}/{loader} --library-path /opt/{program} /opt/{program}/{program} "$@"\n'
        )
        start.chmod(0o755)

    def write(self) -> None:
        """Write the definition anew, after a change of `compose`."""
        (self.directory / "docker-compose.yml").write_text(self.compose)

    def settings(self, **values: str) -> None:
        """Add to `.env`; tokens that are missing are made."""
        file = self.project.env_file
        lines = (
            dict(line.split("=", 1) for line in file.read_text().splitlines() if re.match(r"\w+=", line))
            if file.exists()
            else {}
        )
        lines.update(values)
        lines.update({name: value for name, value in tokens.missing_tokens(lines).items() if name not in lines})
        file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        file.chmod(0o600)

    def forget_labels(self) -> None:
        """Take the label of its volume from every node."""
        engine = default_engine(True)
        for node in engine.nodes:
            with suppress(OpenBalenaError):  # of the nodes that do not have it
                engine.docker("node", "update", "--label-rm", "openbalena.data.store-data", node.name)

    @contextmanager
    def deployed(self) -> Iterator[None]:
        """It runs within, its volume on node1; taken away with its volumes and labels at the end."""
        try:
            for command in ("swarm-init", "swarm-build", "swarm-up"):
                result = self.run(command)
                assert result.code == 0, result
            yield
        finally:
            self.run("swarm-down", "--volumes", "--yes")
            self.forget_labels()

    def run(self, command: str, *arguments: str) -> Result:
        """Run one of the commands."""
        args = command_parser(BY_NAME[command]).parse_args(arguments)
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), patch.dict(os.environ, self.environment or {}):
            try:
                code = run_command(BY_NAME[command], args, Context(self.project, lab=self.environment is None))
                result = Result(code, out.getvalue(), err.getvalue())
            except OpenBalenaError as error:
                result = Result(error.exit_code, out.getvalue(), err.getvalue(), str(error))
        assert_plain(self.project, (command, *arguments), result.out + result.err + result.error)
        return result


def fetch_busybox(directory: Path) -> Path:
    """Debian's static busybox, unpacked below `directory`; the machine's package state stays as it is."""
    subprocess.run(["apt-get", "download", "busybox-static"], cwd=directory, check=True, capture_output=True)
    package = next(directory.glob("busybox-static_*.deb"))
    subprocess.run(["dpkg-deb", "-x", package, directory / "unpacked"], check=True)
    return next(path for path in directory.glob("unpacked/**/bin/busybox"))

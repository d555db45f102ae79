"""What a deployment on the lab has to answer, whichever mode runs it: `verify`, as a user's script reads it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from leaves import LEAVES, WORDS, Leaf
from output import assert_plain

from openbalena import settings, verify
from openbalena.base.project import ROOT, Project
from openbalena.verify import network

# Names of the lab resolve nowhere, so `--lab` asks no DNS; the admin profile's services have no stand-ins.
_SKIPPED = {"dns", "port-10000"}
GREEN = {check.name: "skip" if check.name in _SKIPPED else "ok" for check in verify.CHECKS}
# They would change the deployment, some for minutes.
_CHANGING = {"swarm-build", "swarm-up", "swarm-rollback"}
# Seconds: each check of `verify` has bounds of its own, of which two tunnels alone may take 90.
_BOUND = 300


@dataclass(frozen=True)
class Subject:
    """A running deployment: its directory, and the addresses of its ingress nodes."""

    directory: Path
    addresses: tuple[str, ...]
    openvpn: Path

    def call(self, *words: str, hosts: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """A command without a terminal; `hosts` takes the place of /etc/hosts for this one process."""
        command = [sys.executable, "-m", "openbalena", "--project-directory", str(self.directory), *words]
        if hosts:
            bound = ["sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
            command = ["unshare", "--mount", *bound, *command]
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_BOUND,
            check=False,
        )
        assert_plain(Project(directory=self.directory), words, done.stdout + done.stderr)
        return done

    @property
    def hosts(self) -> list[str]:
        """The host names of the deployment."""
        values = settings.read(Project(directory=self.directory))
        return [f"{name}.{values['DNS_TLD']}" for name in network.host_names(values.profiles)]


class Acceptance:
    """Each mode's tests have a subclass, and a fixture `subject`."""

    # Commands with --json that have something to say of this mode; the others end with exit code 1 or 2.
    answering: ClassVar[set[str]] = {"lint", "pki show", "secrets show", "showenv", "verify"}

    def test_every_check_is_green(self, subject: Subject) -> None:
        done = subject.call("verify", "--lab", "--json")
        results = json.loads(done.stdout)
        assert {item["name"]: item["outcome"] for item in results} == GREEN, results
        # Where the api's device types have not come yet it says that it waits for them.
        said = [line for line in done.stderr.splitlines() if not line.startswith("the api has no device type yet")]
        assert (done.returncode, said) == (0, [])

    @pytest.mark.parametrize(
        "leaf", [leaf for leaf in LEAVES if leaf.has_json and leaf.words[0] not in {"lab", *_CHANGING}], ids=str
    )
    def test_json_is_json_alone(self, leaf: Leaf, subject: Subject) -> None:
        done = subject.call("--lab", *leaf.words, *WORDS.get(str(leaf), []), "--json")
        if str(leaf) in self.answering:
            assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) is not None if done.stdout else done.returncode, done

    def test_in_words_there_is_one_plain_line_for_each_check(self, subject: Subject) -> None:
        done = subject.call("verify", "--lab")
        assert [tuple(line.split()[:2]) for line in done.stdout.splitlines()] == [
            (outcome, name) for name, outcome in GREEN.items()
        ]

    def test_names_are_asked_of_dns_where_nobody_names_addresses(self, subject: Subject, tmp_path: Path) -> None:
        records = dict.fromkeys(subject.hosts, subject.addresses)
        done = subject.call("verify", "--json", "--openvpn", str(subject.openvpn), hosts=_file(tmp_path, records))
        assert {item["name"]: item["outcome"] for item in json.loads(done.stdout)} == {**GREEN, "dns": "ok"}
        assert done.returncode == 0

    @pytest.mark.parametrize(
        ("change", "failed"),
        [
            (lambda records: records.popitem(), {"dns"}),
            (lambda records: records.update({next(iter(reversed(records))): ("192.0.2.1",)}), {"dns"}),
            (lambda records: records.clear(), {"address", "dns"}),
        ],
        ids=["one name is missing", "one name leads elsewhere", "no name is there"],
    )
    def test_a_wrong_name_fails(
        self,
        change: Callable[[dict[str, tuple[str, ...]]], None],
        failed: set[str],
        subject: Subject,
        tmp_path: Path,
    ) -> None:
        records = dict.fromkeys(subject.hosts, subject.addresses)
        wrong = list(records)[-1]
        change(records)
        done = subject.call("verify", "--json", hosts=_file(tmp_path, records))
        results = {item["name"]: item for item in json.loads(done.stdout) if item["outcome"] == "FAIL"}
        assert (set(results), done.returncode) == (failed, 1)
        assert wrong.partition(".")[0] in results["dns"]["detail"]

    def test_each_port_that_is_closed_has_its_line(self, subject: Subject) -> None:
        done = subject.call("verify", "--address", "127.0.0.99")
        closed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAIL")]
        assert (closed, done.returncode) == (["port-80", "port-443"], 1)


def _file(directory: Path, records: dict[str, tuple[str, ...]]) -> Path:
    file = directory / "hosts"
    lines = [f"{address} {host}" for host, addresses in records.items() for address in addresses]
    file.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
    return file

"""Nodes reached over ssh. The ssh here is a program that notes what it was asked and connects to a lab node's engine:
tested is how the docker command line and the SDK are brought to use it."""

from pathlib import Path

import pytest

from openbalena.docker import engine as engines
from openbalena.images import spread
from openbalena.lab import Endpoint
from openbalena.operations.engines import default_engine

pytestmark = pytest.mark.cluster


def test_images_and_questions_go_over_ssh(lab: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    ssh = tmp_path / "ssh"
    node2 = f"{lab.cli} --host unix://{lab.nodes[1].socket}"
    ssh.write_text(f'#!/bin/sh\necho "$@" >>{log}\nexec {node2} system dial-stdio\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    here = default_engine(True)
    (there,) = engines.engines_for(here, ["root@node2"])
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    here.nodes[0].docker("build", "--tag", "ssh-test:1", str(context))
    try:
        assert spread.transfer(here.nodes[0], ["ssh-test:1"], [there]) == []
        with there.client() as client:
            assert client.info()["Name"] == "node2"
            assert client.api.inspect_image("ssh-test:1")["RepoTags"] == ["ssh-test:1"]
    finally:
        for node in here.nodes[:2]:
            node.docker("image", "rm", "--force", "ssh-test:1")
    assert "docker system dial-stdio" in log.read_text() and "node2" in log.read_text()

"""A node reached over ssh, by the docker command line and by the SDK: a real sshd on the lab's node2."""

from pathlib import Path

import pytest
from node_sshd import sshd

from openbalena.docker import engine as engines
from openbalena.images import spread
from openbalena.lab import Endpoint
from openbalena.operations.engines import default_engine

pytestmark = pytest.mark.cluster


def test_images_and_questions_go_over_ssh(lab: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = default_engine(True)
    (there,) = engines.engines_for(here, [f"root@{lab.nodes[1].address}"])
    context, server = tmp_path / "context", tmp_path / "sshd"
    context.mkdir()
    server.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    here.nodes[0].docker("build", "--tag", "ssh-test:1", str(context))
    try:
        with sshd(lab.nodes[1], server) as path:
            monkeypatch.setenv("PATH", path)
            assert spread.transfer(here.nodes[0], ["ssh-test:1"], [there]) == []
            with there.client() as client:
                assert client.info()["Name"] == "node2"
                assert client.api.inspect_image("ssh-test:1")["RepoTags"] == ["ssh-test:1"]
            assert set((server / "commands").read_text().splitlines()) == {"docker system dial-stdio"}
    finally:
        for node in here.nodes[:2]:
            node.docker("image", "rm", "--force", "ssh-test:1")

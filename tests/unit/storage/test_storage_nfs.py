"""Volumes on NFS: how they stand in a stack, and what the answers of a node mean."""

import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from openbalena.base.errors import UsageError
from openbalena.storage import guard, nfs
from openbalena.storage.record import VolumeLocation, VolumeRegistry
from openbalena.swarm.job import JobResult, Mount
from openbalena.swarm.state import Cluster, Node, SwarmService, Task

SETTINGS = {"USE_NFS": "true", "NFS_HOST": "nfs.example.com", "NFS_PORT": "2049", "NFS_PATH": "/exports/ob/"}
DB = SwarmService("s1", "ob_db", "ob", "db:1", constraints=("node.labels.openbalena.data.db-data == true",))
STATEFUL = ("db-data", "redis-data", "s3-data")


def test_all_volumes_with_data_go_there_unless_some_are_chosen() -> None:
    assert nfs.nfs_volumes(SETTINGS, STATEFUL) == STATEFUL
    assert nfs.nfs_volumes({**SETTINGS, "NFS_VOLUMES": "s3-data"}, STATEFUL) == ("s3-data",)
    assert nfs.nfs_volumes({**SETTINGS, "USE_NFS": "false"}, STATEFUL) == ()
    with pytest.raises(UsageError, match="certs-data: expected volumes"):
        nfs.nfs_volumes({**SETTINGS, "NFS_VOLUMES": "s3-data,certs-data"}, STATEFUL)


@pytest.mark.parametrize("host", ["nfs.example.com", "192.0.2.7", "2001:db8::7"])
def test_a_volume_is_a_directory_of_the_export_with_safe_options(host: str) -> None:
    document: dict[str, Any] = {"volumes": {"db-data": {}, "other": {}}}
    made = nfs.with_nfs_volumes(document, {**SETTINGS, "NFS_HOST": host}, ["db-data"])["volumes"]
    assert made["other"] == {} and document["volumes"]["db-data"] == {}
    options = made["db-data"]["driver_opts"]
    assert options["device"] == ":/exports/ob/db-data" and f"addr={host}," in options["o"]
    assert {"hard", "nfsvers=4.1"} <= set(options["o"].split(","))


def test_a_mount_with_commas_stays_one_value() -> None:
    text = Mount("", "/x", "ob", read_only=False, options=nfs.driver_options(SETTINGS)).text()
    (fields,) = csv.reader([text])
    assert "volume-opt=device=:/exports/ob" in fields
    assert any(field.startswith("volume-opt=o=addr=nfs.example.com,port=2049,") for field in fields)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("failed to mount local volume: mount :/x:/y, data: addr=10.0.0.1: no such device", "no NFS client"),
        ("failed to mount local volume: mount :/x:/y: connection refused", "is the NFS server running"),
        ("failed to mount local volume: mount :/x:/y: no such file or directory", "no such directory"),
        ("failed to mount local volume: mount :/x:/y: permission denied", "does not export NFS_PATH to this node"),
        ("failed to mount local volume: mount :/x:/y: connection timed out", "firewall"),
        ("error resolving passed in network volume address: lookup nfs: no such host", "cannot resolve"),
        ("error resolving passed in network volume address: lookup nfs on 10.0.0.1:53: connection refused", "resolve"),
        ("write db-data: sh: can't create db-data/.x: Read-only file system", "read-only"),
        ("directory db-data: mkdir: Permission denied", "is not writable"),
        ("squash db-data: 0 became 65534:65534", "no_root_squash"),
        ("chown db-data: chown: Operation not permitted", "no_root_squash"),
    ],
)
def test_what_goes_wrong_is_said_with_what_to_do(words: str, sentence: str) -> None:
    assert sentence in nfs.explain_result(JobResult(False, (), words, started=False))
    assert sentence in nfs.explain_result(JobResult(False, (words,), "task: non-zero exit (1)"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("task openbalena-nfs-n1 did not end within 240 s (starting)", "firewall"),
        ("the mount did not complete within 240 s", "firewall"),
        ("task openbalena-nfs-n1 did not end within 240 s (starting: mount :/x:/y: no such device)", "no NFS client"),
    ],
)
def test_a_mount_that_never_answers_is_a_firewall_unless_the_node_says_more(words: str, sentence: str) -> None:
    assert sentence in nfs.explain_result(JobResult(False, (), words, started=False, timed_out=True))
    assert "firewall" not in nfs.explain_result(JobResult(False, (), words, started=False))


def test_where_docker_mounts_to_is_left_out() -> None:
    words = (
        "starting container failed: error while mounting volume '/var/lib/docker/volumes/0f3/_data': failed to mount "
        "local volume: mount :/srv/nfs:/var/lib/docker/volumes/0f3/_data, data: addr=10.0.0.1,hard: connection refused"
    )
    assert nfs.explain(words).endswith("(mount :/srv/nfs, data: addr=10.0.0.1,hard: connection refused)")


def test_a_good_export_is_said_nothing_about() -> None:
    assert nfs.explain_result(JobResult(True, ())) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_check_makes_the_directories_and_leaves_nothing_else(tmp_path: Path) -> None:
    script = nfs.check_script(["db-data", "s3-data"], "n1").replace(nfs.DIRECTORY, str(tmp_path))
    for _ in range(2):
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stdout) == (0, ""), done
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["db-data", "s3-data"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "s3-data").write_text("")
    script = nfs.check_script(["s3-data"], "n1").replace(nfs.DIRECTORY, str(tmp_path))
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1 and done.stdout.startswith("directory s3-data: ")


@pytest.mark.parametrize("command", [("swarm-up", "--dry-run"), ("stack", "render")])
def test_the_stack_has_the_chosen_volumes_on_the_server(tmp_path: Path, command: tuple[str, ...]) -> None:
    tool = [sys.executable, "-m", "openbalena", "--project-directory", str(tmp_path)]
    subprocess.run(
        [*tool, "config", "--dns-tld", "ob.example.com", "--yes"], check=True, capture_output=True, timeout=60
    )
    chosen = {"USE_NFS": "true", "NFS_HOST": "2001:db8::7", "NFS_VOLUMES": "s3-data"}
    done = subprocess.run(
        [*tool, *command],
        env={**os.environ, **chosen},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    volumes = yaml.safe_load(done.stdout)["volumes"]
    assert volumes["s3-data"]["driver_opts"]["o"].startswith("addr=2001:db8::7,port=2049,nfsvers=4.1,")
    assert not volumes["db-data"]


def test_local_data_is_not_hidden_and_data_on_nfs_not_left() -> None:
    local, remote = (VolumeRegistry({"db-data": VolumeLocation("n1", "node1", on_nfs)}) for on_nfs in (False, True))
    (sentence,) = guard.nfs_conflicts([DB], local, ["db-data"])
    assert "would hide: db-data" in sentence and "`docker volume rm ob_db-data`" in sentence
    assert "storage forget db-data" in sentence
    (sentence,) = guard.nfs_conflicts([DB], remote, [])
    assert "has its data on NFS" in sentence
    assert not list(guard.nfs_conflicts([DB], local, [])) and not list(guard.nfs_conflicts([DB], remote, ["db-data"]))


def test_a_volume_is_looked_at_unless_its_service_has_it_as_it_is_to_be() -> None:
    wanted = nfs.driver_options_by_volume(SETTINGS, ["db-data"])
    labelled = Node("n1", "node1", labels={"openbalena.data.db-data": "true"})
    on_nfs, forgotten = VolumeRegistry({"db-data": VolumeLocation("n1", "node1", True)}), VolumeRegistry()
    task = Task("t1", "s1", "n1")

    def nodes(record: VolumeRegistry, options: dict[str, str], *tasks: Task) -> list[str]:
        mount = {"Source": "ob_db-data", "VolumeOptions": {"DriverConfig": {"Options": options}}}
        deployed = replace(DB, template={"ContainerSpec": {"Mounts": [mount]}})
        cluster = Cluster((labelled,), (deployed,), tasks, this_node="n1")
        return list(guard.idle_volumes([DB], cluster, record, wanted))

    assert nodes(on_nfs, wanted["db-data"], task) == [], "it runs as it is to be"
    assert nodes(on_nfs, {**wanted["db-data"], "device": ":/other/db-data"}, task) == ["n1"], (
        "it runs on another export"
    )
    assert nodes(on_nfs, wanted["db-data"]) == ["n1"], "it does not run"
    assert nodes(forgotten, wanted["db-data"]) == ["n1"], "a volume of that name may be there all the same"

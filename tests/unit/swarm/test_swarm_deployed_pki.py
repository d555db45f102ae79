"""Which services have another version of the PKI's files than is here, and which do not run as deployed."""

import hashlib
from datetime import UTC, datetime

from cluster_builders import OLD, cluster, service, task
from fake_engine import FakeEngine

from openbalena.swarm import deployed_pki


def name(key: str, content: bytes) -> str:
    return f"ob_{key}-{hashlib.sha256(content).hexdigest()[:12]}"


def test_another_version_is_named_with_who_has_it() -> None:
    old, new = name("ca-bundle", b"old"), name("ca-bundle", b"new")
    chain = name("haproxy-chain", b"chain")
    services = [
        service("api", configs=(old, name("server-ca-certificate", b"x"))),
        service("s3", configs=(new,)),
        service("vpn", configs=(old,)),
        service("haproxy-certs", secrets=(chain,)),
    ]
    files = {"ca-bundle": b"new", "haproxy-chain": b"chain", "ca-certificate": b"held by nobody"}
    assert deployed_pki.outdated_contents(cluster(services, []), files) == {"ca-bundle": ["api", "vpn"]}
    assert deployed_pki.outdated_contents(cluster(services, []), {**files, "haproxy-chain": b"other"}) == {
        "ca-bundle": ["api", "vpn"],
        "haproxy-chain": ["haproxy-certs"],
    }


def test_who_does_not_run_as_deployed_counts_where_it_has_one_of_the_files() -> None:
    held = (name("ca-bundle", b"x"),)
    services = [service("api", configs=held), service("vpn", configs=held), service("redis")]
    tasks = [task(1, "api"), task(2, "vpn", spec=OLD)]
    assert deployed_pki.not_converged(cluster(services, tasks)) == ["vpn"]


def test_a_version_is_deployed_since_its_config_was_created(fake: FakeEngine) -> None:
    older, used = name("ca-bundle", b"older"), name("ca-bundle", b"used")
    with fake.engine.client() as client:
        for seconds, created in enumerate((older, used, f"{used}-other")):
            fake.swarm.clock.now = 3600.25 + seconds
            client.configs.create(name=created, data=b"x")
        found = cluster([service("redis"), service("api", configs=("ob_other-0123456789ab", used))], [])
        assert deployed_pki.deployed_since(client, found, "ca-bundle") == datetime(2026, 11, 23, 11, 0, 1, tzinfo=UTC)

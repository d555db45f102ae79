"""Connections to a peer that is gone without a word end within 60 s, by what the definitions set for each container."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from openbalena.base.project import ROOT

# Seconds.
BOUND = 60
# Linux, include/net/tcp.h: the first retransmission timeout and that of a SYN, each doubled every time.
_RTO, _SYN = 0.2, 1


def services(file: Path) -> list[tuple[str, dict[str, Any]]]:
    return list(yaml.safe_load(file.read_text())["services"].items())


FILES = ("docker-compose.yml", "docker-stack.yml", "docker-stack-internal.yml")
# haproxy-certs only copies a file.
CASES = [(file, name) for file in FILES for name, _ in services(ROOT / file) if name != "haproxy-certs"]


@pytest.mark.parametrize(("file", "name"), CASES)
def test_a_dead_peer_is_noticed_by_every_service(file: str, name: str) -> None:
    sysctls = {key: int(value) for key, value in dict(services(ROOT / file))[name].get("sysctls", {}).items()}
    ipv4 = {key.removeprefix("net.ipv4."): value for key, value in sysctls.items()}
    idle = ipv4["tcp_keepalive_time"] + ipv4["tcp_keepalive_intvl"] * ipv4["tcp_keepalive_probes"]
    sending = (2 ** (ipv4["tcp_retries2"] + 1) - 1) * _RTO
    opening = (2 ** (ipv4["tcp_syn_retries"] + 1) - 1) * _SYN
    assert max(idle, sending, opening) < BOUND
    assert sending > BOUND / 2, "a peer that is only slow, or whose network is away for a moment, is kept"


def test_redis_does_not_override_it_with_a_longer_time() -> None:
    (line,) = (
        x for x in dict(services(ROOT / "docker-compose.yml"))["redis"]["command"][2].splitlines() if "exec" in x
    )
    words = line.split()
    # Three probes, a third of it apart (Redis 8.10, src/anet.c, anetKeepAlive).
    assert 2 * int(words[words.index("--tcp-keepalive") + 1]) <= BOUND

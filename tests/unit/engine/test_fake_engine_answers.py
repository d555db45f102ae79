"""The fake engine answers as a real one did (tests/shared/engine_answers.json)."""

from typing import Any

import docker
import pytest
from engine_exchanges import ask_all, exchanges, recorded
from fake_engine import fake_engine

# Keys of the real answers that nothing of ours reads.
LEFT_OUT = {
    *("TLSInfo", "Plugins", "Spec.CAConfig", "RootRotationInProgress", "Cluster.Spec", "Cluster.Version"),
    *("Cluster.CreatedAt", "Cluster.UpdatedAt", "IPAM", "ConfigFrom", "ConfigOnly"),
    "Options.com.docker.network.driver.overlay.vxlanid_list",
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with fake_engine(tmp_path_factory.mktemp("engine")) as engine:
        for name in ("node1", "node2", "node3"):
            engine.swarm.node(name, "manager", **{"openbalena.ingress": "true"})
        return ask_all(docker.APIClient(base_url=engine.url, version="auto"))


@pytest.mark.parametrize("name", [exchange["name"] for exchange in exchanges()])
def test_the_fake_engine_answers_as_a_real_one_does(name: str, answers: dict[str, Any]) -> None:
    real, fake = recorded()[name], answers[name]
    assert {**fake, "shape": None} == {**real, "shape": None}
    missing, other = differences(real.get("shape"), fake.get("shape"))
    assert not other
    assert [path for path in missing if not any(path.endswith(left) for left in LEFT_OUT)] == []


def differences(real: Any, fake: Any, at: str = "") -> tuple[list[str], list[str]]:
    """The paths that the fake's answer lacks, and those that it has in another way."""
    if isinstance(real, list) and isinstance(fake, list) and real and fake:
        return differences(real[0], fake[0], at)
    if not isinstance(real, dict) or not isinstance(fake, dict):
        return ([], []) if real == fake else ([], [f"{at}: {real} is {fake}"])
    missing = [f"{at}.{key}" for key in real.keys() - fake.keys()]
    other = [f"{at}.{key} is not in a real answer" for key in fake.keys() - real.keys()]
    for key in real.keys() & fake.keys():
        more = differences(real[key], fake[key], f"{at}.{key}")
        missing, other = missing + more[0], other + more[1]
    return sorted(missing), sorted(other)

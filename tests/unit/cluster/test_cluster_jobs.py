"""What one-shot tasks, and runs that were killed, leave behind."""

from types import SimpleNamespace
from typing import Any

import pytest

from openbalena.cluster import job


class Secrets:
    """The secrets of a swarm, as the SDK has them."""

    def __init__(self) -> None:
        self.there: dict[str, SimpleNamespace] = {}
        self.secrets, self.services = self, SimpleNamespace(list=lambda filters: [])

    def create(self, name: str, data: bytes, labels: dict[str, str] | None = None) -> SimpleNamespace:
        def remove() -> None:
            self.there.pop(name, None)

        assert name not in self.there and data
        spec = {"Name": name, **({"Labels": labels} if labels else {})}
        self.there[name] = SimpleNamespace(name=name, attrs={"Spec": spec}, remove=remove)
        return self.there[name]

    def list(self, filters: dict[str, Any] | None = None) -> list[SimpleNamespace]:
        """The Engine finds names that contain the one it is asked for."""
        return [each for each in self.there.values() if (filters or {}).get("name", "") in each.name]


def test_the_secret_of_a_check_that_was_killed_goes_with_the_next_command() -> None:
    swarm = Secrets()
    swarm.create("openbalena_settings-0123456789ab", b"x", {"openbalena.settings.ca": "x"})
    swarm.create("openbalena-check-postgres-mine", b"x")
    kept = set(swarm.there)
    held = job.secret(swarm, "openbalena-check-postgres", "password")
    held.__enter__()  # and is killed
    swarm.create("openbalena-check-s3", b"x")  # by a version that gave it no label
    assert len(swarm.there) == 4
    job.remove_all(swarm)
    assert set(swarm.there) == kept


def test_a_secret_lasts_as_long_as_its_question() -> None:
    swarm = Secrets()
    swarm.create("openbalena-check-s3", b"left")
    with pytest.raises(KeyError), job.secret(swarm, "openbalena-check-s3", "keys"):
        assert swarm.there["openbalena-check-s3"].attrs["Spec"]["Labels"]
        raise KeyError
    assert not swarm.there

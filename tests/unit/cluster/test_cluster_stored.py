"""Which settings in the swarm are the newest, whatever the clocks of its managers say."""

from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from openbalena.cluster import deploy, stored

FAST, RIGHT = "2027-06-01T00:00:00Z", "2026-11-25T00:00:00Z"


class Secret:
    """A secret as the SDK has it."""

    def __init__(self, swarm: "Swarm", index: int, name: str, labels: dict[str, str]) -> None:
        self.id, self.name, self._swarm = f"id{index}", name, swarm
        self.attrs: dict[str, Any] = {
            "ID": self.id,
            "CreatedAt": swarm.clock,
            "Version": {"Index": index},
            "Spec": {"Name": name, "Labels": labels},
        }

    def has(self, label: str) -> bool:
        """As the filter `label` of the Engine's lists."""
        name, separator, value = label.partition("=")
        labels = self.attrs["Spec"]["Labels"]
        return name in labels and (not separator or labels[name] == value)

    def remove(self) -> None:
        self._swarm.secrets_there.remove(self)


class Swarm:
    """The secrets of a swarm, with the clock of the manager that leads and the index that Raft counts."""

    def __init__(self) -> None:
        self.clock = RIGHT
        self.secrets_there: list[Secret] = []
        self._index = count(9)  # so that indexes sort otherwise as numbers than as text
        self.secrets = SimpleNamespace(list=self._list, create=self._create)
        self.configs = SimpleNamespace(list=lambda: [])
        self.api = SimpleNamespace(
            services=lambda: [],
            remove_secret=self._remove,
            inspect_secret=lambda identifier: self._there(identifier).attrs,
            _url=lambda path, identifier: identifier,
            _post_json=self._update,
            _raise_for_status=lambda _: None,
        )

    def _list(self, filters: dict[str, Any] | None = None) -> list[Secret]:
        wanted = (filters or {}).get("label", [])
        name = (filters or {}).get("name", "")
        return [s for s in reversed(self.secrets_there) if name in s.name and all(s.has(label) for label in wanted)]

    def _create(self, name: str, data: bytes, labels: dict[str, str]) -> None:
        self.secrets_there.append(Secret(self, next(self._index), name, labels))

    def _there(self, identifier: str) -> Secret:
        return next(secret for secret in self.secrets_there if secret.id == identifier)

    def _remove(self, identifier: str) -> None:
        self._there(identifier).remove()

    def _update(self, identifier: str, data: dict[str, Any], params: dict[str, int]) -> None:
        attributes = self._there(identifier).attrs
        assert params == {"version": attributes["Version"]["Index"]}, "nobody wrote in between"
        attributes |= {"Spec": data, "Version": {"Index": next(self._index)}}


def save(swarm: Swarm, tokens: str, *, counted: bool = True) -> None:
    stored.save(swarm, "ob", tokens.encode(), {"ca": "ca", "tokens": tokens, "later": ""}, "anna@laptop")
    if not counted:  # as a version of this program that kept no count
        del swarm.secrets_there[-1].attrs["Spec"]["Labels"]["openbalena.settings.order"]


def kept(swarm: Swarm) -> str:
    newest = stored.newest(swarm, "ob")
    assert newest is not None
    return newest.tokens


@pytest.mark.parametrize("counted", [True, False])
def test_a_clock_that_was_ahead_does_not_make_the_newest(counted: bool) -> None:
    swarm = Swarm()
    swarm.clock = FAST
    save(swarm, "old", counted=counted)
    swarm.clock = RIGHT
    save(swarm, "rotated", counted=counted)
    assert kept(swarm) == "rotated"
    assert len(deploy.remove_unused(swarm, "ob")) == 1
    assert [secret.attrs["Spec"]["Labels"]["openbalena.settings.tokens"] for secret in swarm.secrets_there] == [
        "rotated"
    ]


def test_parts_of_a_second_are_no_matter() -> None:
    swarm = Swarm()
    for tokens, clock in (("first", "2026-11-25T00:00:00.29Z"), ("second", "2026-11-25T00:00:00.296Z")):
        swarm.clock = clock
        save(swarm, tokens, counted=False)
    assert kept(swarm) == "second"


@pytest.mark.parametrize("versions", ["no", "on", "nnoonn", "oon", "nonono"])
def test_versions_of_this_program_with_and_without_the_count_take_turns(versions: str) -> None:
    swarm = Swarm()
    for number, version in enumerate(versions):
        swarm.clock = FAST if number % 2 else RIGHT
        save(swarm, f"{number}", counted=version == "n")
        assert kept(swarm) == f"{number}"


def test_a_version_that_is_the_newest_again_is_counted_anew() -> None:
    swarm = Swarm()
    for tokens in ("one", "two", "one"):
        save(swarm, tokens)
    assert kept(swarm) == "one"
    assert stored.newest(swarm, "another") is None


def test_a_change_of_the_labels_makes_no_older_version_newer() -> None:
    swarm = Swarm()
    for tokens in ("one", "two"):
        save(swarm, tokens)
    swarm.secrets_there[0].attrs["Version"]["Index"] = 99
    assert kept(swarm) == "two"


def test_the_same_settings_get_the_marks_of_the_version_that_stores_them() -> None:
    """Otherwise that version would be refused at its next deploy: the marks are those of another."""
    swarm = Swarm()
    save(swarm, "same")
    made = {"ca": "ca", "tokens": "of another version", "later": "of another version, too"}
    stored.save(swarm, "ob", b"same", made, "anna@laptop")
    found = stored.newest(swarm, "ob")
    assert found is not None and len(swarm.secrets_there) == 1
    assert {"ca": found.ca, "tokens": found.tokens, "later": found.later} == made
    stored.check(found, made, "")

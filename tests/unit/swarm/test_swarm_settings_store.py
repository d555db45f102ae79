"""Which settings in the swarm are the newest, whatever the clocks of its managers say."""

from collections.abc import Iterator
from typing import Any

import pytest
from fake_engine import FakeEngine

from openbalena.swarm import deploy, settings_store

# Seconds of the clock of the manager that leads.
FAST, RIGHT = 2e7, 1e3


class Swarm:
    """The fake engine's swarm, and a client of it."""

    def __init__(self, fake: FakeEngine, client: Any) -> None:
        self.fake, self.client = fake, client

    @property
    def secrets(self) -> list[dict[str, Any]]:
        """The newest last."""
        return list(self.fake.swarm.secrets.values())

    def save(self, tokens: str, *, clock: float = RIGHT, counted: bool = True) -> None:
        """Store settings; where they are not counted, as a version of this program that kept no count."""
        self.fake.swarm.clock.now = clock
        settings_store.save(
            self.client, "ob", tokens.encode(), {"ca": "ca", "tokens": tokens, "later": ""}, "anna@laptop"
        )
        if not counted:
            del self.secrets[-1]["Spec"]["Labels"]["openbalena.settings.order"]

    @property
    def kept(self) -> str:
        """The tokens of the newest."""
        newest = settings_store.latest(self.client, "ob")
        assert newest is not None
        return newest.tokens


@pytest.fixture
def swarm(fake: FakeEngine) -> Iterator[Swarm]:
    with fake.engine.client() as client:
        yield Swarm(fake, client)


@pytest.mark.parametrize("counted", [True, False])
def test_a_clock_that_was_ahead_does_not_make_the_newest(swarm: Swarm, counted: bool) -> None:
    swarm.save("old", clock=FAST, counted=counted)
    swarm.save("rotated", counted=counted)
    assert swarm.kept == "rotated"
    assert len(deploy.remove_unused(swarm.client, "ob")) == 1
    assert [secret["Spec"]["Labels"]["openbalena.settings.tokens"] for secret in swarm.secrets] == ["rotated"]


def test_parts_of_a_second_are_no_matter(swarm: Swarm) -> None:
    for tokens, clock in (("first", 1000.29), ("second", 1000.296)):
        swarm.save(tokens, clock=clock, counted=False)
    assert swarm.kept == "second"


@pytest.mark.parametrize("versions", ["no", "on", "nnoonn", "oon", "nonono"])
def test_versions_of_this_program_with_and_without_the_count_take_turns(swarm: Swarm, versions: str) -> None:
    for number, version in enumerate(versions):
        swarm.save(f"{number}", clock=FAST if number % 2 else RIGHT, counted=version == "n")
        assert swarm.kept == f"{number}"


def test_a_version_that_is_the_newest_again_is_counted_anew(swarm: Swarm) -> None:
    for tokens in ("one", "two", "one"):
        swarm.save(tokens)
    assert swarm.kept == "one"
    assert settings_store.latest(swarm.client, "another") is None


def test_a_change_of_the_labels_makes_no_older_version_newer(swarm: Swarm) -> None:
    for tokens in ("one", "two"):
        swarm.save(tokens)
    swarm.secrets[0]["Version"]["Index"] = 99
    assert swarm.kept == "two"


def test_the_same_settings_get_the_marks_of_the_version_that_stores_them(swarm: Swarm) -> None:
    """Otherwise that version would be refused at its next deploy: the marks are those of another."""
    swarm.save("same")
    made = {"ca": "ca", "tokens": "of another version", "later": "of another version, too"}
    settings_store.save(swarm.client, "ob", b"same", made, "anna@laptop")
    found = settings_store.latest(swarm.client, "ob")
    assert found is not None and len(swarm.secrets) == 1
    assert {"ca": found.ca, "tokens": found.tokens, "later": found.later} == made
    settings_store.require_compatible(found, made, "")

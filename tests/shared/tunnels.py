"""VPN sessions of devices that are held while something happens to the VPN."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deployed_clients import session

from openbalena.verify import Target
from openbalena.verify.vpn import CONNECTED

# What the client says when it begins again, whatever ended its connection.
_AGAIN = "SIGUSR1"


@dataclass(frozen=True)
class Tunnels:
    """Sessions, with what each client has said so far."""

    said: list[list[str]]

    def await_return(self, bound: float) -> None:
        """Wait until all sessions stand, at least one after a cut. Raises AssertionError after `bound` seconds."""
        end = time.monotonic() + bound
        while not self._are_back():
            assert time.monotonic() < end, f"not back within {bound} s: {[each[-10:] for each in self.said]}"
            time.sleep(0.2)

    def _are_back(self) -> bool:
        marks = [[CONNECTED in line for line in each if CONNECTED in line or _AGAIN in line] for each in self.said]
        return all(each[-1] for each in marks) and sum(map(sum, marks)) > len(marks)

    def away(self, since: datetime | None = None) -> float:
        """The longest seconds between a cut, or `since`, and the return of the session; 0.0 without any."""
        longest = 0.0
        for each in self.said:
            cut: datetime | None = None
            for line in each:
                if _AGAIN in line:
                    cut = cut or _time(line)
                elif CONNECTED in line and cut is not None:
                    longest, cut = max(longest, (_time(line) - (since or cut)).total_seconds()), None
        return longest


@contextmanager
def tunnels(target: Target, directory: Path) -> Iterator[Tunnels]:
    """Two sessions at the first address: with least connections first they are those of two tasks."""
    with ExitStack() as opened:
        said = []
        for number in range(2):
            place = directory / str(number)
            place.mkdir()
            said.append(opened.enter_context(session(target, target.addresses[0], place))[1])
        yield Tunnels(said)


def _time(line: str) -> datetime:
    """The local time at which the client said it, to the second."""
    return datetime.strptime(line[:19], "%Y-%m-%d %H:%M:%S").astimezone()

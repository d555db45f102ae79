"""The type of a check, and running a list of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from openbalena.verify.target import Target
from openbalena.verify.web import Response, UnreachableError

Outcome = Literal["ok", "FAIL", "skip"]


@dataclass(frozen=True)
class Suspect:
    """The service that is most likely at fault, and the variable or file that it gets."""

    service: str
    variable: str = ""

    def __str__(self) -> str:
        return f"{self.variable} of {self.service}" if self.variable else self.service


class CheckError(Exception):
    """A check failed: `why` says what was found, `todo` what to do about it."""

    def __init__(self, why: str, todo: str, suspect: Suspect | None = None) -> None:
        super().__init__(why)
        self.why, self.todo, self.suspect = why, todo, suspect


class SkipCheckError(Exception):
    """The check does not apply here; the message is the reason."""


def expect(answer: Response, status: int, what: str, todo: str, suspect: Suspect) -> Response:
    """`answer`, if it has `status`. Raises CheckError otherwise, with the status that `what` answered."""
    if answer.status_code != status:
        raise CheckError(f"{what} answered {answer.status_code}", todo, suspect)
    return answer


@dataclass(frozen=True)
class Check:
    """`run` checks what `asserts` says and returns a detail to show; raises CheckError or SkipCheckError.

    `needs` names earlier checks; if one of them failed, this one could only repeat the failure.
    """

    name: str
    asserts: str
    run: Callable[[Target], str]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """One check's outcome. `seconds` is how long it took."""

    check: Check
    outcome: Outcome
    detail: str
    todo: str = ""
    suspect: Suspect | None = None
    seconds: float = 0.0

    def line(self, width: int = 0) -> str:
        """`ok    name  detail`, or `FAIL  name  why; what to do`; names are padded to `width`."""
        text = f"{self.outcome:<4}  {self.check.name:<{width}}  {self.detail}"
        if self.suspect:
            text += f" [see {self.suspect}]"
        return f"{text}; {self.todo}" if self.todo else text

    def record(self) -> dict[str, object]:
        """The result for JSON output."""
        return {
            "name": self.check.name,
            "asserts": self.check.asserts,
            "outcome": self.outcome,
            "detail": self.detail,
            "todo": self.todo,
            "service": self.suspect.service if self.suspect else "",
            "variable": self.suspect.variable if self.suspect else "",
            "seconds": round(self.seconds, 3),
        }


def run_checks(checks: Sequence[Check], target: Target, tell: Callable[[Result], None]) -> list[Result]:
    """Run `checks` in order, passing each result to `tell` at once; returns all results."""
    results: list[Result] = []
    not_ok: set[str] = set()
    for check in checks:
        result = _run(check, target, not_ok)
        if result.outcome == "FAIL" or any(name in not_ok for name in check.needs):
            not_ok.add(check.name)
        results.append(result)
        tell(result)
    return results


def _run(check: Check, target: Target, not_ok: set[str]) -> Result:
    broken = [name for name in check.needs if name in not_ok]
    if broken:
        return Result(check, "skip", f"not run, as it requires '{broken[0]}'")
    begin = time.monotonic()
    try:
        detail = check.run(target)
    except SkipCheckError as skipped:
        return Result(check, "skip", str(skipped), seconds=time.monotonic() - begin)
    except CheckError as failed:
        return Result(check, "FAIL", failed.why, failed.todo, failed.suspect, time.monotonic() - begin)
    except UnreachableError as error:
        return Result(
            check,
            "FAIL",
            str(error),
            "check that haproxy is running there, and see its logs",
            Suspect("haproxy"),
            time.monotonic() - begin,
        )
    return Result(check, "ok", detail, seconds=time.monotonic() - begin)

"""A manager that cannot answer for a moment is asked again, and one that refuses is not."""

from collections.abc import Callable

import pytest
import requests
from docker.errors import APIError

from openbalena.base.errors import OperationError
from openbalena.docker import retry


def refusal(status: int, words: str) -> APIError:
    response = requests.Response()
    response.status_code = status
    return APIError(words, response, words)


def failing(*errors: Exception) -> tuple[Callable[[], str], list[Exception]]:
    """A question that is answered after those errors, and the errors that are still to come."""
    left = list(errors)

    def ask() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return ask, left


def test_while_there_is_no_leader_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_INTERVAL", 0.01)
    ask, _ = failing(
        refusal(503, "rpc error: code = Unknown desc = The swarm does not have a leader."),
        refusal(500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded"),
        requests.ReadTimeout("read timed out"),
    )
    assert retry.retry_until_leader(ask) == "answer"


def test_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_LONGEST", 0.0)
    ask, _ = failing(refusal(503, "no leader"))
    with pytest.raises(OperationError, match=r"no manager answered for 0 s: .*no leader"):
        retry.retry_until_leader(ask)


def test_a_refusal_is_final() -> None:
    ask, left = failing(refusal(404, "service x not found"), refusal(503, "no leader"))
    with pytest.raises(APIError, match="not found"):
        retry.retry_until_leader(ask)
    assert len(left) == 1

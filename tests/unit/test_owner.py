"""Who runs a command, as others are told."""

import socket

import pytest

from openbalena.base.owner import current_owner


@pytest.mark.parametrize(
    ("user", "caller", "named"),
    [("ann", None, "ann"), ("root", None, "root"), ("root", "ann", "ann"), ("bob", "ann", "bob")],
)
def test_root_by_sudo_is_the_user_who_called_it(
    user: str, caller: str | None, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", user)
    monkeypatch.delenv("SUDO_USER", raising=False)
    if caller:
        monkeypatch.setenv("SUDO_USER", caller)
    assert current_owner() == f"{named}@{socket.gethostname()}"

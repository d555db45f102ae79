"""What holds for the output of every command where it is not a terminal that reads it."""

from openbalena import settings
from openbalena.base.errors import UsageError
from openbalena.base.project import Project


def assert_plain(project: Project, words: tuple[str, ...], said: str) -> None:
    """No control characters, no traceback, and no secret but where it was asked for."""
    assert "\033" not in said and "\r" not in said, f"{words}: control characters: {said!r}"
    assert "Traceback" not in said and "This is a defect" not in said, f"{words}: {said}"
    if "showpass" in words or "--reveal" in words:
        return
    try:
        secrets = settings.read(project).secrets
    except UsageError:
        return
    assert [name for name, value in secrets.items() if value in said] == [], words

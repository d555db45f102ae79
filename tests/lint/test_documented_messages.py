"""The messages that docs/docker-swarm-deployment.md explains are those that the commands print."""

import re

import pytest
from messages import ROOT, document

PAGE = (ROOT / "docs" / "docker-swarm-deployment.md").read_text()
QUOTED = re.findall(
    r"^\| `([^`]+)` \|", PAGE.partition("\n| message | what to do |\n")[2].partition("\n\n")[0], re.MULTILINE
)


def test_the_table_is_read() -> None:
    assert len(QUOTED) > 10


@pytest.mark.parametrize("message", QUOTED)
def test_each_message_of_the_table_is_printed(message: str) -> None:
    """`…` is any text; one value more or less in the message itself does no harm."""
    parts = [re.escape(part.strip()) for part in message.split("…") if part.strip()]
    pattern = re.compile(".*".join(parts))
    assert any(pattern.search(line) for line in document().splitlines()), "say in the table what is printed now"

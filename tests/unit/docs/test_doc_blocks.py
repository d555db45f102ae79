"""The runner of a page's commands."""

import os
from pathlib import Path

import pytest
from doc_blocks import Block, blocks, fits, run

PAGE = """\
# Page

<!-- not run here: it needs a device -->
```sh
false
```

```sh
NAME=word
cd below
```

Prose.

```sh
echo "one $NAME"
pwd
```

```text
one …
…
```

```yaml
services: {}
```

<!-- typed: PASSWORD -->
```sh
test -t 0
read -r given
[ "$given" = 'a "b"' ]
```
"""


def execute(page: str, directory: Path, **instead: str) -> None:
    (directory / "below").mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"]}
    run(blocks(page), directory, environment, instead=instead, typed={"PASSWORD": 'a "b"'}, within=10)


def test_blocks_with_their_marks_and_what_they_print() -> None:
    assert blocks(PAGE) == [
        Block(5, "false", not_run="it needs a device"),
        Block(9, "NAME=word\ncd below"),
        Block(16, 'echo "one $NAME"\npwd', shown="one …\n…"),
        Block(31, 'test -t 0\nread -r given\n[ "$given" = \'a "b"\' ]', typed="PASSWORD"),
    ]


def test_they_run_in_order_with_variables_and_directory(tmp_path: Path) -> None:
    execute(PAGE, tmp_path)


@pytest.mark.parametrize(
    ("word", "other", "said"),
    [
        ("test -t 0", "test ! -t 0", "line 31:"),
        ("one …", "two …", "line 16:.*the page shows"),
        ("below", "beside", "line 9:.*beside"),
        ("echo", "false; echo", "line 16:.*exit code 1"),
        ("NAME=word", "unset NAME", "line 16:.*NAME"),
        ("pwd", "sleep 60", "not done within 10 s"),
    ],
)
def test_what_fails_is_named(word: str, other: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=f"(?s){said}"):
        execute(PAGE, tmp_path, **{word: other})


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("```sh\ntrue\n", "line 2: the block does not end"),
        ("```text\nshown\n```", "line 2: shows the output of no block"),
        ("```sh\ntrue\n```\n```text\na\n```\n```text\nb\n```", "line 8: shows"),
        ("<!-- typed: A -->\nProse.\n", "line 2: a mark that belongs to no block of commands: typed"),
        ("<!-- not run here: why -->", "at the end of the page: not run here"),
    ],
)
def test_a_page_that_cannot_be_read(page: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        blocks(page)


@pytest.mark.parametrize(
    ("printed", "shown", "fit"),
    [
        ("a  b  \n", "a  b", True),
        ("a\nb\nc\n", "a\n…\nc", True),
        ("a\nc\n", "a\n…\nc", True),
        ("a (1)\n", "a (…)", True),
        ("a (1)\nb\n", "a (…)", False),
        ("a.b\n", "a_b", False),
        ("", "a", False),
    ],
)
def test_what_is_shown(printed: str, shown: str, fit: bool) -> None:
    assert fits(printed, shown) is fit

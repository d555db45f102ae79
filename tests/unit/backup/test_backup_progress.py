"""How far a backup is, in words."""

import pytest

from openbalena.backup.progress import describe

STATUS = '{"message_type":"status","seconds_elapsed":10,"percent_done":0.5,"total_bytes":4096,"bytes_done":1024}'
PIPED = '{"message_type":"status","seconds_elapsed":8,"percent_done":0,"bytes_done":1048576}'

RETRIED = "retrying after the repository's error"


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([f"progress 0 {STATUS}"], "1 KiB of 4 KiB, 102 B/s, about 30 s left"),
        (["created", f"progress 9 {STATUS}"], "1 KiB of 4 KiB, 102 B/s, about 30 s left"),
        ([f"progress 0 {PIPED}"], "1 MiB, 128 KiB/s"),
        ([f"progress 2097152 {PIPED}"], "1 MiB of 2 MiB, 128 KiB/s, about 8 s left"),
        ([f"progress 1048575 {PIPED}"], "1 MiB, 128 KiB/s"),
        (['progress 8 {"percent_done":0}'], "0 B of 8 B"),
        ([f"progress 0 {STATUS}", "result {}"], ""),
        (["retrying out of space", f"progress 0 {PIPED}"], f"1 MiB, 128 KiB/s; {RETRIED}: out of space"),
        (["retrying refused", "retrying out of space"], f"{RETRIED}: out of space"),
        ([f"progress 4097 {PIPED}".replace("1048576", "4096")], "4 KiB of 4 KiB, 512 B/s"),
        ([], ""),
        (["progress"], ""),
        (["progress x {}"], ""),
        (["progress 0 []"], ""),
        ([f"progress 0 {STATUS[:-1]}"], ""),
    ],
)
def test_progress(lines: list[str], text: str) -> None:
    assert describe(lines) == text

"""What a mistyped option, subcommand or value was meant to be."""

from collections.abc import Iterable

# Options and subcommands that remove or stop something, skip a question or change other machines. A suggestion is
# typed without much thought, so these are never suggested.
NEVER = {
    *("--back", "--dismiss", "--fix", "--from-cluster", "--install-engine", "--off", "--overwrite", "--purge"),
    *("--push", "--remove", "--replace-settings", "--take-over", "--undo", "--volumes", "--yes"),
    *("down", "forget", "kill", "move", "partition", "prune", "remove", "rotate", "slow"),
}
# Letters below which a name is not recognized: `-x` is not a misspelling of `-h`.
_SHORTEST = 3


def suggestion(typed: str, known: Iterable[str]) -> str:
    """`: did you mean …?` with the name of `known` of which `typed` is a misspelling or the beginning, or nothing."""
    fitting = sorted((distance(typed, name), name) for name in known if name not in NEVER and _resembles(typed, name))
    return f": did you mean {fitting[0][1]}?" if fitting else ""


def _resembles(typed: str, name: str) -> bool:
    if len(name.lstrip("-")) < _SHORTEST:
        return False
    return is_misspelt(typed, name) or (len(typed.lstrip("-")) >= _SHORTEST and name.startswith(typed))


def is_misspelt(word: str, meant: str) -> bool:
    """Whether at most two letters are wrong; one, in a word of up to five letters, since two would be half of it."""
    return distance(word, meant) <= (1 if len(meant.lstrip("-")) <= 5 else 2)


def distance(left: str, right: str) -> int:
    """Letters to add, drop, replace or swap with the next to get from one word to the other.

    The optimal string alignment distance (Damerau 1964): no letter is changed twice.
    """
    rows = [list(range(len(right) + 1))]
    for i, letter in enumerate(left, 1):
        row = [i]
        for j, other in enumerate(right, 1):
            cost = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == right[j - 2] and left[i - 2] == other:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]

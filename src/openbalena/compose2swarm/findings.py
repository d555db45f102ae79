"""Findings of the compiler and the validator as they are shown: which, in what order, and how many."""

from argparse import Namespace, _ActionsContainer
from collections.abc import Iterable, Sequence

from openbalena.compose2swarm.terminal import Output
from openbalena.stack.diagnostic import Diagnostic, Severity


def add_options(parser: _ActionsContainer) -> None:
    """The options that select findings."""
    parser.add_argument("--strict", action="store_true", help="treat warnings as errors")
    parser.add_argument(
        "--ignore",
        metavar="RULE",
        action="append",
        default=[],
        help="leave out the findings of a rule, such as container_name or volumes (may be repeated)",
    )
    parser.add_argument("--all", action="store_true", help="show every note, not one of each rule")


def selected(found: Iterable[Diagnostic], args: Namespace) -> list[Diagnostic]:
    """Those that `--ignore` leaves: a rule stands for those below it, `volumes` for `volumes.bind`."""
    return [item for item in found if not any(f"{item.rule}.".startswith(f"{rule}.") for rule in args.ignore)]


def prevents(item: Diagnostic, args: Namespace) -> bool:
    """Whether the finding makes the command fail."""
    return item.severity is Severity.ERROR or (args.strict and item.severity is Severity.WARNING)


def show(found: Sequence[Diagnostic], args: Namespace, output: Output, *, result: bool) -> None:
    """Print the findings, as the `result` of the command or in addition to it, and their number."""
    (output.say if result else output.remark)(*_lines(found, every=args.all))
    if found:
        output.remark(summary(found))


def summary(found: Iterable[Diagnostic]) -> str:
    """The number of findings of each severity, such as `2 errors, 1 warning`."""
    items = list(found)
    counts = {severity: sum(item.severity is severity for item in items) for severity in Severity}
    parts = [f"{count} {severity}{'' if count == 1 else 's'}" for severity, count in counts.items() if count]
    return ", ".join(parts) or "no errors or warnings"


def _lines(found: Iterable[Diagnostic], *, every: bool) -> list[str]:
    """Errors, warnings, then notes, first those about what the user must do. Of the other notes only the first of
    each rule is shown, unless `every` one is.
    """
    severities, items = list(Severity), list(found)
    files = {name: index for index, name in enumerate(dict.fromkeys(item.position.file for item in items))}
    items.sort(
        key=lambda item: (
            severities.index(item.severity), not item.prominent, files[item.position.file], item.position
        )
    )  # fmt: skip
    more: dict[str, int] = {}
    lines: dict[Diagnostic, str] = {}
    for item in items:
        minor = not item.prominent
        if minor and not every:
            more[item.rule] = more.get(item.rule, -1) + 1
        if every or not minor or not more[item.rule]:
            lines[item] = f"{item} ({item.severity})"
    return [
        line + (f" and {more[item.rule]} more of {item.rule}: --all shows them" if more.get(item.rule) else "")
        for item, line in lines.items()
    ]

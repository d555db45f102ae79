"""A finding of a check, and which findings the user has dismissed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How soon a finding needs attention: an error breaks something now, a warning will, a note is good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


_ORDER = list(Severity)


class FixKind(StrEnum):
    """What `doctor --fix` can do; operations.doctor_fix has the function of each. None of them touches a volume."""

    REMOVE_UNUSED = "remove-unused"
    REMOVE_NODE_RECORD = "remove-node-record"
    LOAD_MODULE = "load-module"
    REBALANCE = "rebalance"


@dataclass(frozen=True)
class Fix:
    """What makes a finding go away safely: `text` says it to the user, `targets` are all that it may change.

    Targets are names of secrets and configs, ids of nodes, or names of services; `module` is a kernel module.
    """

    kind: FixKind
    targets: tuple[str, ...]
    text: str
    module: str = ""


@dataclass(frozen=True)
class DoctorFinding:
    """`subject` is the node, service or object that it is about; `detail` what was found; `remedy` what to do.

    `measured` is a number that changes with each reading, shown but no part of the finding's identity. `fix` is None if
    only a person can decide what to do.
    """

    check: str
    severity: Severity
    subject: str
    detail: str
    remedy: str
    measured: str = ""
    fix: Fix | None = None

    @property
    def id(self) -> str:
        """Identifies it as long as it does not change: a dismissed finding that changes is shown again."""
        text = "\0".join((self.check, self.severity, self.subject, self.detail))
        return f"{self.check}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"

    def record(self, reason: str = "") -> dict[str, str]:
        """For programs; `reason` is why it was dismissed."""
        return {
            "id": self.id,
            "check": self.check,
            "severity": self.severity.value,
            "subject": self.subject,
            "detail": self.detail,
            "measured": self.measured,
            "remedy": self.remedy,
            "fix": self.fix.text if self.fix else "",
            "dismissed": reason,
        }


def worst_first(findings: Sequence[DoctorFinding]) -> list[DoctorFinding]:
    """Errors, then warnings, then notes; each by check and subject."""
    return sorted(findings, key=lambda each: (_ORDER.index(each.severity), each.check, each.subject))


def split_dismissed(
    findings: Sequence[DoctorFinding], dismissed: Mapping[str, str]
) -> tuple[list[DoctorFinding], list[DoctorFinding]]:
    """Those to attend to, and those that the user has dismissed (`dismissed`: reason by id)."""
    shown = [each for each in findings if each.id not in dismissed]
    return shown, [each for each in findings if each.id in dismissed]

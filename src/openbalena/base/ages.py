"""How long ago something was, for a reader."""

from datetime import datetime

from openbalena.base.sizes import format_duration


def age(since: str, now: datetime) -> str:
    """The time from `since` (ISO 8601, RFC 3339) until `now`: `45 s`, `12 min`, `3 h`, `2 days`."""
    try:
        return format_duration(int((now - datetime.fromisoformat(since)).total_seconds()))
    except (TypeError, ValueError):
        return "an unknown time"

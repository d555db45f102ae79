"""How long ago something was, for a reader."""

from datetime import datetime


def age(since: str, now: datetime) -> str:
    """The time from `since` (ISO 8601, RFC 3339) until `now`: `45 s`, `12 min`, `3 h`, `2 days`."""
    try:
        seconds = int((now - datetime.fromisoformat(since)).total_seconds())
    except (TypeError, ValueError):
        return "an unknown time"
    if seconds < 120:
        return f"{max(seconds, 0)} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172800 else f"{seconds // 86400} days"

"""Amounts of data and of time for a reader."""


def format_size(size: int | None) -> str:
    """Bytes as IEC 80000-13 units: `12 KiB`, `3.4 GiB`; `?` if it is not known."""
    if size is None:
        return "?"
    value, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.3g} {units[0]}" if value < 1000 else f"{value:.0f} {units[0]}"


def format_duration(seconds: int) -> str:
    """`45 s`, `12 min`, `3 h`, `2 days`; rounded down."""
    if seconds < 120:
        return f"{max(seconds, 0)} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172800 else f"{seconds // 86400} days"

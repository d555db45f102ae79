"""The last complete backup as metrics, for the textfile collector of Prometheus's node exporter."""

from __future__ import annotations

from datetime import datetime

from openbalena.backup.manifest import Manifest


def metrics_text(made: Manifest) -> str:
    """In the text format of Prometheus; times are seconds since 1970. A domain needs no quoting there."""
    begun, finished = (datetime.fromisoformat(text).timestamp() for text in (made.begun, made.finished))
    gauges = {
        "last_success_timestamp_seconds": ("When the last complete backup was finished.", finished),
        "last_duration_seconds": ("How long the last complete backup took.", finished - begun),
        "last_size_bytes": ("The size of what the last complete backup has.", made.bytes),
    }
    lines = []
    for name, (text, value) in gauges.items():
        lines += [f"# HELP openbalena_backup_{name} {text}", f"# TYPE openbalena_backup_{name} gauge"]
        lines.append(f'openbalena_backup_{name}{{domain="{made.domain}"}} {value:.0f}')
    return "\n".join(lines) + "\n"

"""The files for systemd, the lines for cron, and the metrics of a backup."""

from dataclasses import replace

import pytest
from backup_facts import MANIFEST, PARTS, saved

from openbalena.backup.metrics import metrics_text
from openbalena.backup.schedule import Run, Schedule, cron_line, units

RUN = Run(
    "Backup of openBalena, my.example.com",
    "/srv/my deployment",
    [["/opt/ob/open-balena.sh", "backup", "create"], ["/opt/ob/open-balena.sh", "backup", "prune", "--yes"]],
    "admin",
    {"DOCKER_HOST": "ssh://root@node1"},
)


@pytest.mark.parametrize(
    ("schedule", "calendar", "cron"),
    [
        (Schedule(3, 5), "*-*-* 03:05:00", "5 3 * * *"),
        (Schedule(), "*-*-* 00:00:00", "0 0 * * *"),
        (Schedule(every=6), "*-*-* 00/6:00:00", "0 */6 * * *"),
    ],
)
def test_when_it_runs(schedule: Schedule, calendar: str, cron: str) -> None:
    made = units("u", schedule, RUN)
    assert f"OnCalendar={calendar}\nPersistent=true\n" in made["u.timer"]
    assert cron_line(schedule, RUN).startswith(f"{cron} cd '/srv/my deployment' && ")


def test_one_command_runs_after_the_other_and_a_failed_one_ends_it() -> None:
    service = units("u", Schedule(), RUN)["u.service"]
    assert service.partition("[Service]\n")[2].splitlines() == [
        "Type=oneshot",
        "WorkingDirectory=/srv/my deployment",
        "User=admin",
        'Environment="DOCKER_HOST=ssh://root@node1"',
        'ExecStart="/opt/ob/open-balena.sh" "backup" "create"',
        'ExecStart="/opt/ob/open-balena.sh" "backup" "prune" "--yes"',
    ]
    line = cron_line(Schedule(), RUN)
    command = "env DOCKER_HOST=ssh://root@node1 /opt/ob/open-balena.sh backup"
    assert line.endswith(f"&& {command} create && {command} prune --yes")
    assert "User=" not in units("u", Schedule(), replace(RUN, user=""))["u.service"]


def test_nothing_in_a_path_is_expanded() -> None:
    run = Run("100 %", "/a%b", [["/a%b/$HOME/it's\"x\\"]])
    service = units("u", Schedule(), run)["u.service"]
    assert "Description=100 %%\n" in service and "WorkingDirectory=/a%%b\n" in service
    assert 'ExecStart="/a%%b/$$HOME/it\'s\\"x\\\\"\n' in service
    assert r"""cd /a\%b && '/a\%b/$HOME/it'"'"'s"x\'""" in cron_line(Schedule(), run)


def test_metrics_of_the_last_backup() -> None:
    made = metrics_text(replace(MANIFEST, parts=saved(PARTS)))
    assert [line for line in made.splitlines() if not line.startswith("#")] == [
        'openbalena_backup_last_success_timestamp_seconds{domain="my.example.com"} 1795687260',
        'openbalena_backup_last_duration_seconds{domain="my.example.com"} 60',
        'openbalena_backup_last_size_bytes{domain="my.example.com"} 12',
    ]
    assert made.count("# TYPE ") == made.count("# HELP ") == 3 and made.endswith("\n")

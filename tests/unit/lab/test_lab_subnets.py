"""Labs that start at the same time take different subnets, tried in a temporary network namespace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from openbalena.lab import paths

LABS = 4
# Each process waits on standard input, so that all choose at the same time.
CREATE = """\
import sys
from openbalena.lab import network, state
sys.stdin.read()
lab = network.claim_subnet(lambda subnet: state.Lab(subnet, "/nowhere", (1,)))
print(lab.subnet, flush=True)
"""
ALL = """\
import os, subprocess, sys
directory, create, labs = sys.argv[1:]
processes = [
    subprocess.Popen(
        [sys.executable, "-c", create],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "OPEN_BALENA_LAB_DIR": f"{directory}/{number}"},
    )
    for number in range(int(labs))
]
for process in processes:
    process.stdin.close()
for process in processes:
    print(process.stdout.read().decode().strip())
sys.exit(any([process.wait() for process in processes]))
"""


@pytest.mark.parametrize("attempt", range(2))
def test_labs_that_start_together_take_different_subnets(tmp_path: Path, attempt: int) -> None:
    """A /run of their own keeps the machine's network namespaces out of the test."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    inside = 'mount -t tmpfs tmpfs /run && ip link set lo up && exec "$@"'
    result = subprocess.run(
        ["unshare", *user, "--net", "--mount", "sh", "-c", inside, "sh"]
        + [sys.executable, "-c", ALL, str(tmp_path), CREATE, str(LABS)],
        capture_output=True,
        text=True,
        timeout=120,
        env={name: value for name, value in os.environ.items() if name != paths.VARIABLE},
    )
    assert result.returncode == 0, result.stderr
    assert sorted(result.stdout.split()) == [f"198.18.{number}.0/24" for number in range(LABS)]

"""Installing the distribution's Docker Engine on a machine, over ssh."""

from __future__ import annotations

import re

from openbalena.base.errors import OperationError
from openbalena.docker import ssh
from openbalena.operations.join_checks import HostReport
from openbalena.operations.reporter import Reporter
from openbalena.swarm.preflight import OLDEST_ENGINE

# Seconds: the package lists, and 100 MB of packages over a slow connection.
_TIMEOUT = 1800.0
_LISTS = 300.0
_DISTRIBUTIONS = {"debian", "ubuntu"}
_MANUAL = "install Docker Engine as https://docs.docker.com/engine/install/ describes, then run this command again"
_UPDATE = "export DEBIAN_FRONTEND=noninteractive; apt-get -qq update >&2; apt-cache policy docker.io; echo end"
# `docker system dial-stdio`, by which an engine is reached over ssh, is in a separate package since Debian 13.
_INSTALL = """\
set -e
export DEBIAN_FRONTEND=noninteractive
command=
case $(apt-cache policy docker-cli) in *Candidate:*[0-9]*) command=docker-cli ;; esac
apt-get -qq install --yes --no-install-recommends docker.io $command iptables ca-certificates >&2
"""


def install_engine(host: str, url: str, report: HostReport, reporter: Reporter) -> None:
    """Install docker.io on `host`, which has no docker command line. `url` is that of ssh.ssh_url.

    Raises OperationError if the distribution is not Debian or Ubuntu, or too old.
    """
    if not _DISTRIBUTIONS & set(report.system):
        raise OperationError(
            f"{host}: --install-engine knows Debian and Ubuntu, and this is {' '.join(report.system[:1]) or 'neither'}",
            _MANUAL,
        )
    if not report.root:
        raise OperationError(f"{host}: only root can install Docker Engine: name it as root@HOST, or {_MANUAL}")
    reporter.progress(f"reading the package lists on {host} …")
    offered = offered_version(ssh.run_script(url, _UPDATE, _LISTS))
    if not offered:
        raise OperationError(f"{host}: its package sources have no docker.io", _MANUAL)
    if int(offered.partition(".")[0]) < OLDEST_ENGINE:
        raise OperationError(
            f"{host}: its distribution has Docker Engine {offered}; {OLDEST_ENGINE} or later is required", _MANUAL
        )
    reporter.progress(f"installing Docker Engine {offered} on {host} (at most {_TIMEOUT / 60:.0f} minutes) …")
    ssh.run_script(url, _INSTALL, _TIMEOUT)


def offered_version(policy: str) -> str:
    """The version in the output of `apt-cache policy docker.io` that would be installed; "" if there is none."""
    found = re.search(r"^ *Candidate: (?:\d+:)?(\d+\.\d+(?:\.\d+)?)", policy, re.M)
    return found[1] if found else ""

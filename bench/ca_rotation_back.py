"""Rotate the CA of the demo to the last phase and back, and show who is served: the long form of test_ca_rotation.py.

    sudo .venv.dev/bin/python bench/ca_rotation_back.py

Deploys the demo on a lab of its own, and removes it. Those who trust the old CA alone are refused once it was dropped,
and served again after `secrets rotate CA --back`. Takes about 8 minutes; exit code 1 if it is not so.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests" / "shared")]

from bench_page import deployed_demo  # noqa: E402
from deployed_project import tool  # noqa: E402
from rotation_steps import SEEN_BY_CLIENTS, failed, outside, refused, rolled, step  # noqa: E402

from openbalena.base.project import Project  # noqa: E402


def deploy_phase(project: Project, *options: str) -> None:
    """The next phase, deployed and served."""
    began = time.monotonic()
    print(step(project, *options).stdout.splitlines()[0], flush=True)
    services = rolled(project)
    synced = tool(project, "pki", "sync")
    if synced.returncode:
        sys.exit(synced.stderr)
    print(f"  {time.monotonic() - began:.0f} s: {', '.join(sorted(services))}", flush=True)


def main() -> int:
    """Exit status 0 if all is as expected."""
    with deployed_demo() as project:
        old = (project.pki / "ca-0.pem").read_text()
        for _ in range(3):
            deploy_phase(project)
        locked_out = refused(project, old)
        deploy_phase(project, "--back")
        problems = failed(outside(project, old), SEEN_BY_CLIENTS)
        deploy_phase(project)
        problems += failed(outside(project))
    print("refused without the old CA" if locked_out else "error: the old CA was still trusted")
    print("\n".join(problems) or "served again after --back")
    return int(bool(problems) or not locked_out)


if __name__ == "__main__":
    sys.exit(main())

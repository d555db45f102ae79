"""Deploy versions that do not run, under load: what swarm-up says, and what clients notice.

    sudo .venv.dev/bin/python bench/bad_versions.py [CASE …]

The cases are those of bad_versions.yml. Deploys the demo on a lab of its own, and removes it. After each case the good
version is deployed again. Takes about 25 minutes for all cases; the results replace those of the same cases in
docs/failures.md.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests" / "shared")]

from bench_page import deployed_demo, write_table  # noqa: E402
from deployed_project import STACK, tool  # noqa: E402
from device_load import prepared  # noqa: E402
from lab_target import lab_target  # noqa: E402

from openbalena.base.project import Project  # noqa: E402
from openbalena.operations.engines import default_engine  # noqa: E402
from openbalena.swarm import state  # noqa: E402
from openbalena.verify import Target  # noqa: E402

CASES: dict[str, dict[str, Any]] = {
    case["case"]: case for case in yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
}
ONLY_HERE = "localhost:1/only-here:1"
HEAD = (
    "| bad version | exit | seconds | reason named | previous version serves | reads | writes | next deploy |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def tag_on_one_node() -> None:
    """Give the api's image a name that only node1 knows."""
    engine = default_engine(lab=True)
    with engine.client() as client:
        found = state.read_cluster(client, STACK)
    image = next(service.image for service in found.services if service.short_name == "api")
    engine.nodes[0].docker("tag", image, ONLY_HERE)


def swarm_up(project: Project) -> tuple[int, str, float]:
    """The exit code, what was printed, and the seconds."""
    began = time.monotonic()
    done = tool(project, "swarm-up")
    return done.returncode, done.stderr, time.monotonic() - began


def served(said: str, service: str) -> str:
    """What swarm-up says that runs: `N of M` tasks, `unchanged` if it refused to deploy."""
    match = re.search(rf"{service}: (\d+ of \d+) tasks of the previous version are running", said)
    return match[1] if match else "unchanged" if "error: the deployment failed" not in said else "not said"


def measured(case: dict[str, Any], project: Project, target: Target) -> str:
    """A row of the table."""
    with prepared(target) as load:
        with load.running():
            time.sleep(5)
            project.override_file.write_text(yaml.safe_dump({"services": {case["service"]: case["override"]}}))
            code, said, took = swarm_up(project)
            time.sleep(5)
        project.override_file.unlink()
        good, _, recovered = swarm_up(project)
    exit_code = str(code) if code == case["exit"] else f"{code} (expected {case['exit']})"
    columns = (
        case["case"],
        exit_code,
        f"{took:.0f}",
        "yes" if re.search(case["reason"], said) else "no",
        served(said, case["service"]),
        *(f"{each.first}/{each.after} of {each.made}" for each in (load.reads, load.writes)),
        f"{good}, {recovered:.0f} s",
    )
    return f"| {' | '.join(columns)} |\n"


def main() -> int:
    """Exit status 0."""
    asked = sys.argv[1:] or list(CASES)
    if unknown := set(asked) - CASES.keys():
        sys.exit(f"error: no such case: {', '.join(unknown)}: expected {', '.join(CASES)}")
    rows = []
    with deployed_demo() as project:
        target = lab_target(project)
        tag_on_one_node()
        for name in asked:
            rows.append(measured(CASES[name], project, target))
            print(rows[-1], end="", flush=True)
            write_table("bench/bad_versions.py", HEAD, rows, list(CASES))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The corpus of public Compose files: which files make a project, and what has to be set for it."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

DIRECTORY = Path(os.environ.get("OPEN_BALENA_CORPUS", Path(__file__).resolve().parents[3] / "shared" / "corpus"))
_ROW = re.compile(r"\| `([^/`]+)/([^`]+)` \|.*\| ([^|]*) \|$")
# Variables whose value has to be a number; the rest take any.
_VALUES = {"ROUTER": "router", "SITES_RULE": "Host(`a.test`)", "DOMAIN": "a.test"}


@dataclass(frozen=True)
class Case:
    """One project: `files` in merge order, below the restored tree of its repository."""

    name: str
    files: tuple[Path, ...]
    environment: dict[str, str] = field(default_factory=dict)
    invalid: bool = False


def restore(target: Path) -> list[Case]:
    """Restore the repositories' trees below `target` and return every project of the corpus, in its order."""
    rows = []
    for line in (DIRECTORY / "README.md").read_text().splitlines():
        match = _ROW.match(line)
        if not match:
            continue
        repository, flat, features = match.groups()
        path = target / repository / flat.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((DIRECTORY / repository / flat).read_bytes())
        if not features.startswith("(environment file)"):
            rows.append((path, target / repository, features))
        elif path.name in ("default.env", "example.env"):
            (path.parent / ".env").write_bytes(path.read_bytes())
    needs = {path: re.findall(r"`(\w+)`", features.partition("; needs ")[2]) for path, _, features in rows}
    return [_case(path, root, features, needs) for path, root, features in rows]


def _case(path: Path, root: Path, features: str, needs: dict[Path, list[str]]) -> Case:
    base = re.match(r"(?:override of|merged with) ([^;:]+)", features)
    files = []
    for name in re.findall(r"[\w./-]+\.ya?ml", base.group(1)) if base else ():
        beside = path.parent / name
        files.append(beside if beside.exists() and beside != path else root / name)
    files.append(path)
    return Case(
        name=str(path.relative_to(root.parent)),
        files=tuple(files),
        environment={name: _VALUES.get(name, "value") for file in files for name in needs.get(file, ())},
        invalid="INVALID ON PURPOSE" in features,
    )

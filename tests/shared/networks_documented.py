"""The table of docs/security.md that says which ports each container can reach."""

from openbalena.base.project import ROOT

TITLE = "| from | can connect to |"


def documented() -> dict[str, set[str]]:
    """`service port` that each row of the table allows, by who the row is about."""
    lines = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").splitlines()
    found: dict[str, set[str]] = {}
    for line in lines[lines.index(TITLE) + 2 :]:
        if not line.startswith("|"):
            break
        names, targets = (cell.strip().replace("`", "") for cell in line.strip("|").split("|"))
        reached = {
            f"{service} {port}"
            for target in targets.split(";") if target.strip() not in ("", "nothing")
            for service, *ports in [target.split()]
            for port in ports
        }  # fmt: skip
        for name in names.split(", "):
            found[name] = reached - {item for item in reached if item.startswith(f"{name} ")}
    return found

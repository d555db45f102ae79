"""`stack validate`: hand-written stack files, with the place, the rule and what to write instead."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from stack_values import takes

from openbalena.base.errors import UsageError
from openbalena.stack import sarif
from openbalena.stack.validate import as_data, validate

ROOT = Path(__file__).parents[3]

FAULTS = """\
version: "3.8"
name: x
services:
  a:
    image: x:1
    restart: unless-stopped
    privileged: true
    security_opt: [apparmor=unconfined]
    devices: [/dev/net/tun]
    container_name: a
    depends_on: {b: {condition: service_healthy}}
    tty: true
    mem_limit: 1g
    deploy:
      restart_policy:
        condition: unless-stopped
      replicas: 2
    ports:
      - {target: 80, published: 80, mode: host}
      - target: 81
        published: 80
        mode: host
  b:
    build: .
"""


def found(tmp_path: Path, text: str) -> list[tuple[int, str, str]]:
    path = tmp_path / "stack.yml"
    path.write_text(text)
    return [(item.position.line, item.rule, str(item.severity)) for item in validate([path])]


def test_faults_of_hand_written_files(tmp_path: Path) -> None:
    assert {
        (2, "name", "error"), (7, "privileged", "error"), (8, "security_opt", "error"), (9, "devices", "error"),
        (10, "container_name", "warning"), (12, "tty", "warning"), (13, "mem_limit", "error"),
        (16, "deploy.restart_policy.condition", "error"), (20, "ports", "error"), (24, "build", "error"),
    } <= set(found(tmp_path, FAULTS))  # fmt: skip


def test_a_sound_stack_has_nothing_said_of_it(tmp_path: Path) -> None:
    text = "services: {a: {image: 'x:1', ports: ['80:80'], deploy: {replicas: 2}, environment: {A: '${B:-c}'}}}"
    assert found(tmp_path, text) == []


def test_one_volume_external_in_one_file_and_local_in_another(tmp_path: Path) -> None:
    for name, external in (("a.yml", "{external: true}"), ("b.yml", "{}")):
        text = f"services: {{s: {{image: 'x:1', volumes: ['vo:/v']}}}}\nvolumes:\n  vo: {external}\n"
        (tmp_path / name).write_text(text)
    (diagnostic,) = [item for item in validate([tmp_path / "a.yml", tmp_path / "b.yml"]) if item.severity == "error"]
    assert (diagnostic.position.line, diagnostic.rule) == (3, "volumes.external")
    assert [str(item.severity) for item in validate([tmp_path / "b.yml"])] == ["note"]


def test_variables_that_only_a_dotenv_file_sets(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TAG=1\n")
    text = "services:\n  a:\n    image: x:${TAG}\n    environment: {B: $B, C: '${C:-d}', D: '$${E}'}\n"
    (tmp_path / "stack.yml").write_text(text)
    (diagnostic,) = validate([tmp_path / "stack.yml"])
    assert (diagnostic.position.line, diagnostic.rule) == (3, "variables")
    assert "B, TAG come from the shell" in diagnostic.meaning


def test_variables_that_docker_mangles(tmp_path: Path) -> None:
    assert [line for line, _, _ in found(tmp_path, "services:\n  a:\n    image: ${A:-${B:-c}}\n")] == [3]


@pytest.mark.parametrize("text", ["a: [", "services: 5", "services: {a: {imagee: x}}", "services: {a: {image: x\n"])
def test_what_cannot_be_read_is_an_error_with_its_place(tmp_path: Path, text: str) -> None:
    assert [severity for _, _, severity in found(tmp_path, text)] == ["error"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("services: {}\n---\nvolumes: {}\n", (2, 1)),
        ("services: {a: {image: 'x:1', environment: {1: b}}}\n", (1, 44)),
        ("services: {a: {image: 'x:1', environment: {~: b}}}\n", (1, 44)),
        ("services: {a: {image: 'x:1', environment: {true: b}}}\n", (1, 44)),
        ("services: {a: {image: 'x:1', labels: {l: [b, {1.5: c}]}}}\nx-a:\n  - {2001-01-01: c}\n", (3, 6)),
        ("services: {a: {image: 'x:1', environment: {A: 2001-1-1}}}\n", (1, 47)),
        ("services: {a: {image: 'x:1', command: [2001-01-01 10:00:00]}}\n", (1, 40)),
        ("services: {a: {image: 'x:1', ports: [80.0]}}\n", (1, 38)),
    ],
)
def test_yaml_that_docker_reads_differently(text: str, place: tuple[int, int], docker: Path, tmp_path: Path) -> None:
    path = tmp_path / "stack.yml"
    path.write_text(text)
    found = [item.position[1:] for item in validate([path]) if "`docker stack`" in item.meaning]
    assert place in found
    assert takes(docker, text) == ("---\nvolumes" in text or "A: 2001" in text)


@pytest.mark.parametrize(
    "keys", ["'1': b", "on: b", "y: b", "2001-13-1: b", "A: 2001-01-01 10:00:00Z", '"2001-01-01": b', "A: '2001-01-01'"]
)
def test_yaml_that_docker_reads_alike(keys: str, docker: Path, tmp_path: Path) -> None:
    text = f"services: {{a: {{image: 'x:1', environment: {{<<: {{b: c}}, {keys}}}}}}}\n"
    assert found(tmp_path, text) == []
    assert takes(docker, text)


@pytest.mark.parametrize("kind", ["secrets", "configs"])
def test_a_mode_in_quotes_is_refused_by_docker(tmp_path: Path, kind: str) -> None:
    reference = f"    {kind}:\n      - {{source: s, mode: MODE}}\n"
    text = f"services:\n  a:\n    image: x:1\n{reference}{kind}: {{s: {{external: true}}}}\n"
    assert found(tmp_path, text.replace("MODE", '"0400"')) == [(5, f"{kind}.mode", "error")]
    assert found(tmp_path, text.replace("MODE", "0400")) == []


def test_messages_about_values(tmp_path: Path) -> None:
    text = (
        "services:\n  a:\n    image: x:1\n    stop_grace_period: 1d\n    init: ${I:-true}\n    cap_add: [A, A]\n"
        "    deploy: {replicas: '2', update_config: {paralelism: 1}, resources: {limits: {cpus: 0.5}}}\n"
        "    healthcheck: {retries: '${R:-x}', interval: 1x}\n    privileged: []\nversion: '2'\n"
    )
    path = tmp_path / "stack.yml"
    path.write_text(text)
    said = {item.rule: f"{item.meaning}; {item.instead}" for item in validate([path]) if "refuses" in item.meaning}
    assert {rule: words.removeprefix("`docker stack` refuses ") for rule, words in said.items()} == {
        "stop_grace_period": "days; write hours: 24h",
        "init": "a string; write true or false without quotes and without a variable",
        "cap_add": "an item that is listed twice; remove it",
        "deploy.replicas": "a string; write an integer without quotes",
        "deploy.update_config.paralelism": "this key; did you mean parallelism?",
        "deploy.resources.limits.cpus": "a number with a fraction; write a string in quotes",
        "healthcheck.retries": "the default of this variable; write a number without quotes",
        "healthcheck.interval": "this string; write a duration such as 90s or 1m30s",
        "privileged": "a list; write true or false",
        "version": 'this string; write version "3", "3.0", … or "3.13", or leave it out',
    }


def test_a_variable_as_a_mode_is_decimal_for_docker(tmp_path: Path) -> None:
    text = (
        "services:\n  a:\n    image: x:1\n    secrets:\n      - {source: s, mode: '${M:-0400}'}\n"
        "secrets: {s: {external: true}}\n"
    )
    assert found(tmp_path, text) == [(5, "secrets.mode", "warning")]


def test_ports_of_alternatives_do_not_conflict(tmp_path: Path) -> None:
    """Services without a common profile; in a file with x-swarm, where profiles are chosen when it is compiled."""
    text = "services:\n" + "".join(
        f"  {name}: {{image: 'x:1', ports: ['80:80'], profiles: [{profiles}]}}\n"
        for name, profiles in (("a", "one"), ("b", "two"), ("c", "'two', 'three'"))
    )
    errors = [line for line, _, severity in found(tmp_path, f"{text}x-swarm: {{}}\n") if severity == "error"]
    assert errors == [4]


def test_a_source_with_x_swarm_is_judged_as_compiled() -> None:
    assert [item for item in validate([ROOT / "docker-compose.yml"]) if item.severity != "note"] == []


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        validate([tmp_path / "missing.yml"])


def test_sarif_names_rule_level_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("stack.yml").write_text(FAULTS)
    (run,) = sarif.log(validate([Path("stack.yml")]))["runs"]
    results = {result["ruleId"]: result for result in run["results"]}
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == sorted(results)
    assert results["privileged"]["level"] == "error"
    assert results["privileged"]["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "stack.yml"},
        "region": {"startLine": 7, "startColumn": 5},
    }


def test_sarif_has_what_its_schema_requires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the schema of the OASIS standard, what concerns the properties that we use."""
    monkeypatch.chdir(tmp_path)
    strange = Path("a b#c%é") / "x:y.yml"
    strange.parent.mkdir()
    for path in (strange, Path("x:y.yml")):
        path.write_text(FAULTS)
    log = sarif.log(validate([strange, Path("x:y.yml"), ROOT / "docker-compose.yml"]))
    assert log["version"] == "2.1.0" and log.keys() == {"$schema", "version", "runs"}
    (run,) = log["runs"]
    assert run.keys() == {"tool", "columnKind", "results"} and run["columnKind"] == "unicodeCodePoints"
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["shortDescription"]["text"] and rule["help"]["text"]
    uris = set()
    for result in run["results"]:
        assert result["message"]["text"] and result["level"] in ("none", "note", "warning", "error")
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        (location,) = result["locations"]
        assert min(location["physicalLocation"]["region"].values()) >= 1
        uris.add(location["physicalLocation"]["artifactLocation"]["uri"])
    assert uris == {"a%20b%23c%25%C3%A9/x%3Ay.yml", "x%3Ay.yml", (ROOT / "docker-compose.yml").as_uri()}


def test_data_for_programs(tmp_path: Path) -> None:
    path = tmp_path / "stack.yml"
    path.write_text(FAULTS)
    data = [as_data(item) for item in validate([path])]
    assert {"file", "line", "column", "rule", "severity", "meaning", "instead"} == set(data[0])


@pytest.mark.parametrize(
    ("text", "status"),
    [(FAULTS, 1), ("services: {a: {image: 'x:1'}}", 0), (None, 2)],
    ids=["errors", "sound", "missing"],
)
def test_exit_codes_and_output(tmp_path: Path, text: str | None, status: int) -> None:
    path = tmp_path / "stack.yml"
    if text is not None:
        path.write_text(text)
    for options in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "openbalena", "stack", "validate", path, *options],
            env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        if status == 1:
            if options:
                assert json.loads(done.stdout)[0]["line"] == 2
            else:
                assert done.stdout.startswith(f"{path}:2:1: name: ")


def test_error_of_the_loader_keeps_its_place_in_a_file_with_a_colon(tmp_path: Path) -> None:
    path = tmp_path / "a:b.yml"
    path.write_text("services:\n  a: [x\n")
    (error,) = validate([path])
    assert (error.position, error.rule) == ((str(path), 3, 1), "syntax")
    assert error.meaning.startswith("invalid YAML: "), "without the place"


@pytest.mark.parametrize(
    ("text", "meaning", "instead"),
    [
        ("services: {a: *b}\n", "undefined anchor b", "define it before this"),
        ("services: {a: {image: 'x:1', networks: [c]}}\n", "networks has no c", "declare it at the file's top level"),
    ],
)
def test_error_of_the_loader_says_what_to_write_instead(text: str, meaning: str, instead: str, tmp_path: Path) -> None:
    path = tmp_path / "stack.yml"
    path.write_text(text)
    (error,) = [as_data(item) for item in validate([path])]
    assert (error["rule"], error["meaning"], error["instead"]) == ("syntax", meaning, instead)

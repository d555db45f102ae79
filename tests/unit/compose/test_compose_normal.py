"""Normal form: short forms, environment files, types, errors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openbalena import compose
from openbalena.base.errors import UsageError

Load = Callable[..., compose.Project]


def one(load: Load, text: str, **options: Any) -> dict[str, Any]:
    value: dict[str, Any] = compose.plain(load(f"services: {{a: {{image: x, {text}}}}}", **options).services["a"])
    return value


def port(target: object, published: str | None = None, **more: str) -> dict[str, Any]:
    described = {"mode": "ingress", **({"host_ip": more["ip"]} if "ip" in more else {}), "target": target}
    return described | ({"published": published} if published else {}) | {"protocol": more.get("protocol", "tcp")}


@pytest.mark.parametrize(
    ("written", "ports"),
    [
        ("'80'", [port(80)]),
        ("80", [port(80)]),
        ("'8080:80/udp'", [port(80, "8080", protocol="udp")]),
        ("'127.0.0.1:8080:80'", [port(80, "8080", ip="127.0.0.1")]),
        ("'[::1]:8080:80'", [port(80, "8080", ip="::1")]),
        ("'127.0.0.1::80'", [port(80, ip="127.0.0.1")]),
        ("'80-81'", [port(80), port(81)]),
        ("'8080-8081:80-81'", [port(80, "8080"), port(81, "8081")]),
        ("'8080-8090:80'", [port(80, "8080-8090")]),
        ("{target: 80, published: 8080}", [port(80, "8080")]),
    ],
)  # fmt: skip
def test_ports(load: Load, written: str, ports: list[dict[str, Any]]) -> None:
    assert one(load, f"ports: [{written}]")["ports"] == ports


@pytest.mark.parametrize("written", ["'x'", "'80:81-82'", "'90000'", "'82-81'", "'1:2:3:'", "{published: 80}", "'a:b'"])
def test_wrong_ports_are_refused_with_their_place(load: Load, written: str) -> None:
    with pytest.raises(UsageError, match=r"compose\.yml:1:"):
        one(load, f"ports: [{written}]")


def test_volumes(load: Load, tmp_path: Path) -> None:
    text = "volumes: [/anon, './b:/b:ro,Z', 'n:/n:nocopy', '~/h:/h', {type: tmpfs, target: /t, tmpfs: {size: 1m}}]"
    project = load(f"services: {{a: {{image: x, {text}}}}}\nvolumes: {{n: {{}}}}")
    assert compose.plain(project.services["a"]["volumes"]) == [
        {"type": "volume", "target": "/anon"},
        {"type": "bind", "source": f"{tmp_path}/b", "target": "/b", "read_only": True,
         "bind": {"create_host_path": True, "selinux": "Z"}},
        {"type": "volume", "source": "n", "target": "/n", "volume": {"nocopy": True}},
        {"type": "bind", "source": str(Path.home() / "h"), "target": "/h", "bind": {"create_host_path": True}},
        {"type": "tmpfs", "target": "/t", "tmpfs": {"size": "1m"}},
    ]  # fmt: skip


def test_environment_files_come_before_environment(load: Load, tmp_path: Path) -> None:
    (tmp_path / "one.env").write_text("A=1\nB='$x'\n# comment\nexport C=\"${A}${OUT}\"\nD=a # b\nP\n")
    (tmp_path / "two.env").write_text('A=2\nQ="q"$x\n')
    written = (
        "env_file: [one.env, {path: two.env, format: raw}, {path: no.env, required: false}], environment: [D=4, OUT, N]"
    )
    assert one(load, written, environment={"OUT": "o", "P": "p"})["environment"] == {
        "A": "2", "B": "$x", "C": "1o", "D": "4", "P": "p", "Q": '"q"$x', "OUT": "o", "N": None,
    }  # fmt: skip


def test_label_files_come_before_labels(load: Load, tmp_path: Path) -> None:
    (tmp_path / "l").write_text("a=1\nb=2\n")
    assert one(load, "label_file: l, labels: [b=3]")["labels"] == {"a": "1", "b": "3"}


def test_build_arguments_without_a_value_have_the_environments(load: Load) -> None:
    text = "services: {a: {build: {context: ., args: [A, B, C=3]}}}"
    args = [
        load(text, environment={"A": "1"}, interpolate=flag).services["a"]["build"]["args"] for flag in (True, False)
    ]
    assert args == [{"A": "1", "B": None, "C": "3"}, {"A": None, "B": None, "C": "3"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "compose.yml"
    path.write_bytes("services: {a: {image: 'é:1'}}\r\n".encode(encoding))
    assert compose.load([path], environment={}).services["a"]["image"] == "é:1"


def test_a_missing_environment_file_is_refused(load: Load) -> None:
    with pytest.raises(UsageError, match=r"compose\.yml:1:.*environment file not found"):
        one(load, "env_file: missing.env")


def test_forms(load: Load) -> None:
    normal = one(
        load, "command: sh -c 'a b', extra_hosts: ['h:1.2.3.4', 'i=::1'], environment: {F: 1.10, T: true, I: 5}"
    )
    assert normal["command"] == ["sh", "-c", "a b"]
    assert normal["extra_hosts"] == ["h=1.2.3.4", "i=::1"]
    assert normal["environment"] == {"F": "1.1", "T": "true", "I": "5"}


@pytest.mark.parametrize("kind", ["secrets", "configs"])
@pytest.mark.parametrize(
    ("written", "mode"),
    [('"0400"', 0o400), ('"440"', 0o440), ('"00"', 0), ('"${M}"', 0o440), ("0400", 0o400), ("0o444", 0o444),
     ("256", 0o400), ("420", 0o644), ("504", 0o770)],
)  # fmt: skip
def test_a_mode_is_octal_where_it_is_text(load: Load, kind: str, written: str, mode: int) -> None:
    text = f"services: {{a: {{image: x, {kind}: [{{source: s, mode: {written}}}]}}}}\n{kind}: {{s: {{external: true}}}}"
    project = load(text, environment={"M": "0440"})
    assert compose.plain(project.services["a"][kind]) == [{"source": "s", "mode": mode}]


@pytest.mark.parametrize(
    "written",
    ['"0o400"', '"0x100"', "400.0", '"-400"', "-1", "true", '""', "null", '" 400"', '"888"', '"10000"', "4096", "[]"],
)
def test_a_mode_that_is_none_is_refused(load: Load, written: str) -> None:
    with pytest.raises(UsageError, match=r"compose\.yml:1:\d+: mode: expected a file mode"):
        one(load, f"secrets: [{{source: s, mode: {written}}}]")


@pytest.mark.parametrize(("written", "is_"), [("400", "0620"), ("440", "0670"), ("444", "0674"), ("600", "01130")])
def test_a_decimal_number_that_looks_like_a_mode_is_refused(load: Load, written: str, is_: str) -> None:
    with pytest.raises(UsageError, match=rf'the number {written} is {is_} .*: write "0{written}"'):
        one(load, f"secrets: [{{source: s, mode: {written}}}]")


@pytest.mark.parametrize(
    "text",
    [
        "imagee: x", "ports: 80", "privileged: maybe", "environment: text", "scale: many", "volumes: {a: b}",
        "command: 'a \"'",
        "networks: [missing]", "volumes: [missing:/x]", "secrets: [missing]", "deploy: {replica: 1}",
    ],
)  # fmt: skip
def test_what_compose_refuses_is_refused_with_its_place(load: Load, text: str) -> None:
    with pytest.raises(UsageError, match=r"compose\.yml:1:\d+: "):
        one(load, text)


@pytest.mark.parametrize("section", ["services", "networks", "volumes", "secrets", "configs"])
@pytest.mark.parametrize("name", ["../../x", "a/b", "a b", "..", ".", "é", "", "${A:-x}", "a\\n"])
def test_what_is_no_name_is_refused(load: Load, section: str, name: str) -> None:
    text = f'services: {{a: {{image: x}}}}\n{section}: {{"{name}": {{image: x}}}}'
    with pytest.raises(UsageError, match=rf"compose\.yml:\d:\d+: {section}: expected a name"):
        load(text if section != "services" else text.partition("\n")[2]).services  # noqa: B018


def test_a_config_has_no_driver(load: Load) -> None:
    with pytest.raises(UsageError, match=r"compose\.yml:2:\d+: unknown key driver in a config"):
        load("services: {a: {image: x, configs: [c]}}\nconfigs: {c: {driver: d}}").services  # noqa: B018


def test_a_near_key_is_named(load: Load) -> None:
    with pytest.raises(UsageError, match="did you mean image"):
        one(load, "imagee: x")


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ("deploy: {replicas: two}", "expected an integer (in replicas)"),
        ("mem_limit: '${A}'", "expected a size such as 64m (in mem_limit)"),
        ("deploy: {replicas: [1]}", "expected text, found a list (in replicas)"),
        ("healthcheck: {intervall: 5s}", "unknown key intervall in healthcheck; did you mean interval?"),
    ],
)
def test_the_key_of_a_wrong_value_is_named(load: Load, service: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        one(load, service, environment={"A": "much"})
    assert error.value.problem.what == said


def test_a_service_of_a_version_1_file_is_moved(load: Load) -> None:
    with pytest.raises(UsageError, match="unknown top-level key web: write it below services:$"):
        load("web: {image: 'x:1'}").services  # noqa: B018


def test_without_interpolation_everything_stays_as_written(load: Load) -> None:
    service = "image: '${I:-x}', ports: ['${P:-80}:80'], environment: {A: '${B:?no}', D: '$$'}, scale: '${N}'"
    project = load(f"services: {{a: {{{service}}}}}", interpolate=False)
    assert compose.plain(project.services["a"]) == {
        "image": "${I:-x}", "ports": [port(80, "${P:-80}")], "environment": {"A": "${B:?no}", "D": "$$"},
        "scale": "${N}", "networks": {"default": None},
    }  # fmt: skip


def test_the_name_comes_from_the_environment_then_the_file_then_the_directory(load: Load, tmp_path: Path) -> None:
    text = "name: said\nservices: {a: {image: 'x:${COMPOSE_PROJECT_NAME}'}}"
    assert (load(text).name, load(text).services["a"]["image"]) == ("said", "x:said")
    assert load(text, environment={"COMPOSE_PROJECT_NAME": "env"}).name == "env"
    assert load("services: {a: {image: x}}").name == tmp_path.name.replace(".", "")

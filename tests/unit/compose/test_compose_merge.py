"""Override files, extends, include and profiles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openbalena import compose
from openbalena.base.errors import UsageError

Load = Callable[..., compose.Project]


def service(project: compose.Project, name: str = "a") -> dict[str, Any]:
    value: dict[str, Any] = compose.plain(project.services[name])
    return value


def test_each_key_merges_by_its_own_rule(load: Load) -> None:
    base = """
services:
  a:
    image: x
    command: [one, two]
    environment: [A=1, B=2]
    labels: {l: "1"}
    ports: ["80:80"]
    volumes: [data:/data, ./conf:/conf]
    dns: 1.1.1.1
    networks: [front]
    depends_on: [b]
    logging: {driver: json-file, options: {max-size: 1m}}
    cap_add: [A, B]
    healthcheck: {test: [CMD, a], interval: 5s}
    secrets: [s]
  b: {image: y}
networks: {front: {}, back: {}}
volumes: {data: {}, other: {}}
secrets: {s: {file: ./s}, t: {file: ./t}}
"""
    over = """
services:
  a:
    command: three
    environment: {B: 3, C: 4}
    labels: [m=2]
    ports: ["81:81"]
    volumes: [other:/data]
    dns: [2.2.2.2]
    networks: {back: {aliases: [z]}}
    depends_on: {b: {condition: service_healthy}}
    logging: {driver: syslog}
    cap_add: [B, C]
    healthcheck: {test: b}
    secrets: [{source: t, target: /run/secrets/s}]
"""
    merged = service(load(base, over))
    assert merged["command"] == ["three"]
    assert merged["environment"] == {"A": "1", "B": "3", "C": "4"}
    assert merged["labels"] == {"l": "1", "m": "2"}
    assert [port["published"] for port in merged["ports"]] == ["80", "81"]
    assert [(mount["source"].rpartition("/")[2], mount["target"]) for mount in merged["volumes"]] == [
        ("other", "/data"),
        ("conf", "/conf"),
    ]
    assert merged["dns"] == ["1.1.1.1", "2.2.2.2"]
    assert merged["networks"] == {"front": None, "back": {"aliases": ["z"]}}
    assert merged["depends_on"] == {"b": {"condition": "service_healthy", "required": True}}
    assert merged["logging"] == {"driver": "syslog"}
    assert merged["cap_add"] == ["A", "B", "C"]
    assert merged["healthcheck"] == {"test": ["CMD-SHELL", "b"], "interval": "5s"}
    assert merged["secrets"] == [{"source": "t", "target": "/run/secrets/s"}]


def test_reset_and_override(load: Load) -> None:
    base = "services: {a: {image: x, ports: ['80:80'], environment: {A: 1, B: 2}, command: [c], dns: [d]}}"
    over = "services: {a: {ports: !reset null, environment: {A: !reset null}, dns: !override [e], command: !reset []}}"
    assert service(load(base, over)) == {
        "image": "x", "environment": {"B": "2"}, "dns": ["e"], "networks": {"default": None},
    }  # fmt: skip


def test_reset_beside_a_merge_key_is_about_the_files_before(load: Load) -> None:
    merged = "x-a: &a {image: x, user: merged}\nservices: {a: {<<: *a, user: !reset null}}"
    assert service(load(merged))["user"] == "merged"
    assert service(load("services: {a: {user: first}}", merged))["user"] == "merged"
    assert "user" not in service(load("services: {a: {user: first, image: x}}", "services: {a: {user: !reset null}}"))


def test_tags_of_the_first_file_change_nothing(load: Load) -> None:
    base = "services: {a: {image: x, ports: !override [1], environment: !override [A=1], user: !reset null}}"
    merged = service(load(base, "services: {a: {ports: [2], environment: {B: 2}, user: u}}"))
    assert [port["target"] for port in merged["ports"]] == [1, 2]
    assert (merged["environment"], merged["user"]) == ({"A": "1", "B": "2"}, "u")


@pytest.mark.parametrize("written", ["text", "true", "[{A: 1}]", "[null]", "[5]"])
@pytest.mark.parametrize("key", ["environment", "labels", "sysctls", "networks", "depends_on", "extra_hosts"])
def test_a_wrong_kind_is_refused_in_either_file(load: Load, key: str, written: str) -> None:
    right, wrong = (f"services: {{a: {{image: x, {key}: {value}}}}}" for value in ("{}", written))
    for texts, file in (((wrong, right), "compose"), ((right, wrong), "compose1")):
        with pytest.raises(UsageError, match=rf"/{file}\.yml:1:\d+: expected a"):
            load(*texts).services  # noqa: B018


def test_a_mapping_is_not_replaced_by_text(load: Load) -> None:
    with pytest.raises(UsageError, match=r"compose1\.yml:1:12: "):
        load("services: {a: {image: x}}", "services: {a: text}")


def test_extends_of_a_file_elsewhere_keeps_its_paths(tmp_path: Path, load: Load) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "base.yml").write_text(
        "services: {base: {extends: {service: root}, image: x, volumes: [./d:/d], build: .},"
        " root: {environment: {R: 1}}}"
    )
    merged = service(load("services: {a: {extends: {file: lib/base.yml, service: base}, environment: {O: 2}}}"))
    assert merged["volumes"][0]["source"] == f"{tmp_path}/lib/d"
    assert merged["build"]["context"] == f"{tmp_path}/lib"
    assert merged["environment"] == {"R": "1", "O": "2"}


@pytest.mark.parametrize(
    "text",
    [
        "services: {a: {extends: b}, b: {extends: a}}",
        "services: {a: {extends: missing}}",
        "services: {a: {extends: {service: b, file: missing.yml}}}",
        "services: {a: {extends: [b]}}",
        "include: [missing.yml]",
        "include: [compose.yml]",
    ],
)
def test_what_is_not_there_or_circular_is_refused(load: Load, text: str) -> None:
    with pytest.raises(UsageError, match=r"compose\.yml"):
        load(text)


def test_include_has_its_own_directory_and_environment(tmp_path: Path, load: Load) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "compose.yml").write_text("services: {b: {image: 'x:${TAG}', volumes: ['./d:/d']}}")
    (tmp_path / "sub" / ".env").write_text("TAG=own\n")
    project = load("include: [sub/compose.yml]\nservices: {a: {image: y}}")
    assert service(project, "b")["image"] == "x:own"
    assert service(project, "b")["volumes"][0]["source"] == f"{tmp_path}/sub/d"


def test_what_is_included_or_merged_may_be_empty(tmp_path: Path, load: Load) -> None:
    (tmp_path / "sub.yml").write_text("# nothing yet\n")
    assert list(load("include: [sub.yml]\nservices: {a: {image: x}}", "").services) == ["a"]


def test_include_refuses_two_meanings_of_one_name(tmp_path: Path, load: Load) -> None:
    (tmp_path / "sub.yml").write_text("services: {a: {image: y}}")
    with pytest.raises(UsageError, match=r"services\.a is defined differently"):
        load("include: [sub.yml]\nservices: {a: {image: x}}")


def test_profiles_choose_services_and_what_they_use(load: Load) -> None:
    text = """
services:
  a: {image: x, volumes: [one:/d]}
  b: {image: x, profiles: [p], volumes: [two:/d]}
volumes: {one: {}, two: {}, three: {}}
"""
    assert list(load(text).services) == ["a"]
    assert list(load(text).model["volumes"]) == ["one"]
    assert list(load(text, profiles=["p"]).services) == ["a", "b"]
    assert list(load(text, profiles=["*"]).model["volumes"]) == ["one", "two"]

"""Which images are built, and what they are called."""

from pathlib import Path

import pytest

from openbalena import compose, stack
from openbalena.docker.engine import Engine
from openbalena.images import names_registry, plan, tagged
from openbalena.images.plan import Build
from openbalena.images.spread import NodeImages, missing_builds

FILE = """\
services:
  api:
    image: ${API_IMAGE:-balena/open-balena-api:1}
  haproxy:
    image: ${HAPROXY_IMAGE:-openbalena/haproxy:latest}
    build: {context: ./haproxy, args: {BASE: "${HAPROXY_BASE_IMAGE:-base:1}"}}
  extra:
    image: ${EXTRA_IMAGE:-openbalena/extra:latest}
    build: ./extra
    profiles: [more]
"""


def builds(directory: Path, environment: dict[str, str], profiles: tuple[str, ...] = ()) -> list[Build]:
    file = directory / "docker-compose.yml"
    file.write_text(FILE)
    for name in ("haproxy", "extra"):
        (directory / name).mkdir(exist_ok=True)
        (directory / name / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    read = compose.load([file], environment=environment, profiles=profiles)
    written = compose.load([file], environment=environment, profiles=profiles, interpolate=False)
    return plan(stack.compile(read), written, prefix="reg.example.com/ob", tag="latest")


def test_the_services_with_a_build_context(tmp_path: Path) -> None:
    (only,) = builds(tmp_path, {})
    assert (only.service, only.variable, only.repository) == ("haproxy", "HAPROXY_IMAGE", "reg.example.com/ob/haproxy")
    assert only.context == tmp_path / "haproxy" and only.base == "base:1"


def test_profiles_count(tmp_path: Path) -> None:
    assert [what.service for what in builds(tmp_path, {}, ("more",))] == ["haproxy", "extra"]


def test_an_image_that_somebody_chose_is_not_built(tmp_path: Path) -> None:
    assert builds(tmp_path, {"HAPROXY_IMAGE": "mine:1"}) == []


def test_both_names_and_the_base_s_part_in_them(tmp_path: Path) -> None:
    (one,) = tagged(builds(tmp_path, {}), lambda name: f"id of {name}")
    (other,) = tagged(builds(tmp_path, {}), lambda name: "another id")
    assert one.names == (f"reg.example.com/ob/haproxy:{one.content_tag}", "reg.example.com/ob/haproxy:latest")
    assert one.content_tag != other.content_tag


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("openbalena", False),
        ("someone/openbalena", False),
        ("registry.example.com/openbalena", True),
        ("localhost/openbalena", True),
        ("registry:5000/openbalena", True),
        ("registry.example.com", False),
    ],
)
def test_a_prefix_that_names_a_registry(prefix: str, names: bool) -> None:
    assert names_registry(prefix) is names


def test_only_what_a_node_lacks_is_sent() -> None:
    node = NodeImages(Engine(), "node2", "n2", {"a:1": "sha256:a", "b:latest": "sha256:old"})
    assert missing_builds({"a:1": "sha256:a", "b:latest": "sha256:b", "c:1": "sha256:c"}, node) == ["b:latest", "c:1"]

"""scripts/corpus makes the corpus or names what is missing; tests over the corpus are skipped for that, not passed."""

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import compose_corpus as corpus
import pytest

from openbalena.base.project import ROOT

COMMIT = "c" * 40
FILES = {
    "o/one/compose.yml": b"services: {}\n",
    "o/one/dir/more.yml": b"services: {a: {image: a}}\n",
    "o/one/default.env": b"A=1\n",
    "p/two/compose.yml": b"services: {b: {image: b}}\n",
}


class Host(ThreadingHTTPServer):
    """The stand-in of the raw host: `answers` by the path of a request, and `asked`, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answers: dict[str, bytes | int] = dict(FILES)
        self.asked: list[str] = []
        # Files whose second half does not come, and that come byte by byte.
        self.half = self.drip = ""
        self.half_sent = Event()
        self.released = Event()
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """One request for /OWNER/NAME/COMMIT/PATH."""

    server: Host

    def do_GET(self) -> None:  # noqa: N802
        name = self.path.lstrip("/").replace(f"/{COMMIT}/", "/")
        self.server.asked.append(name)
        content = self.server.answers.get(name, 404)
        if isinstance(content, int):
            self.send_error(content)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if name == self.server.half:
            self.wfile.write(content[: len(content) // 2])
            self.server.half_sent.set()
            self.server.released.wait(60)
            return
        for piece in map(bytes, zip(content, strict=True)) if name == self.server.drip else [content]:
            self.wfile.write(piece)
            self.server.released.wait(0.2 if name == self.server.drip else 0)

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def host() -> Iterator[Host]:
    """A running host."""
    with Host() as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.released.set()
        server.shutdown()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A checkout with what makes and reads the corpus, and a manifest of four files."""
    shared = tmp_path / "clone" / "tests" / "shared"
    shared.mkdir(parents=True)
    for name in ("compose_corpus.py", "corpus_cases.py", "debian.py"):
        shutil.copy(ROOT / "tests" / "shared" / name, shared)
    (tmp_path / "clone" / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "corpus", tmp_path / "clone" / "scripts")
    rows = ["# for a test", "repository\tcommit\tpath\tsha256\tlicence\tkind\tonto\tneeds"]
    for name, content in FILES.items():
        owner, repository, path = name.split("/", 2)
        kind = "defaults" if path.endswith(".env") else "project"
        merged = "compose.yml\tB=v" if path == "dir/more.yml" else "-\t-"
        digest = hashlib.sha256(content).hexdigest()
        rows.append(f"{owner}/{repository}\t{COMMIT}\t{path}\t{digest}\tMIT\t{kind}\t{merged}")
    (shared / "corpus.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path / "clone"


def environment(clone: Path) -> dict[str, str]:
    """No proxy, and a cache in the clone."""
    return {"PATH": os.environ["PATH"], "HOME": str(clone), "XDG_CACHE_HOME": str(clone / "cache")}


def command(clone: Path, *arguments: object) -> list[str]:
    return [sys.executable, str(clone / "scripts" / "corpus"), *map(str, arguments)]


def make(clone: Path, *arguments: object) -> tuple[int, str, str]:
    """Exit code and output of scripts/corpus."""
    done = subprocess.run(
        command(clone, *arguments), env=environment(clone), capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout, done.stderr


def files(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def made(clone: Path) -> dict[str, bytes]:
    """The files in the default directory, without the lock."""
    found = files(clone / "cache" / "openbalena-tests" / "corpus")
    del found[".lock"]
    return found


def test_it_fetches_each_file_once(clone: Path, host: Host) -> None:
    code, out, err = make(clone, "--url", host.url)
    assert (code, err) == (0, "")
    assert "4 of 4 files here; 0 missing" in out
    assert made(clone) == FILES
    assert host.asked == list(FILES)
    assert make(clone, "--url", host.url)[0] == 0
    assert len(host.asked) == len(FILES)


def test_what_the_host_does_not_have_is_named_and_counted(clone: Path, host: Host) -> None:
    del host.answers["o/one/dir/more.yml"]
    code, out, err = make(clone, "--url", host.url)
    assert code == 1
    assert "3 of 4 files here; 1 missing" in out
    assert err.startswith("missing: o/one/dir/more.yml: ")
    assert "HTTP status 404" in err
    assert set(made(clone)) == {*FILES} - {"o/one/dir/more.yml"}
    assert host.asked.count("o/one/dir/more.yml") == 1


def test_a_file_with_another_checksum_is_not_kept(clone: Path, host: Host) -> None:
    host.answers["p/two/compose.yml"] = b"another\n"
    code, out, err = make(clone, "--url", host.url)
    assert code == 1
    assert "1 missing" in out
    assert hashlib.sha256(b"another\n").hexdigest() in err
    assert "p/two/compose.yml" not in made(clone)


def test_a_damaged_file_is_fetched_again(clone: Path, host: Host) -> None:
    make(clone, "--url", host.url)
    damaged = clone / "cache" / "openbalena-tests" / "corpus" / "p/two/compose.yml"
    damaged.write_bytes(b"damaged")
    host.answers["p/two/compose.yml"] = 404
    assert make(clone, "--url", host.url)[0] == 1
    assert not damaged.exists()
    host.answers["p/two/compose.yml"] = FILES["p/two/compose.yml"]
    assert make(clone, "--url", host.url)[0] == 0
    assert made(clone) == FILES


def test_an_error_of_the_host_may_pass(clone: Path, host: Host) -> None:
    host.answers["p/two/compose.yml"] = 503
    code, _, err = make(clone, "--url", host.url)
    assert code == 1
    assert "HTTP status 503" in err
    assert host.asked.count("p/two/compose.yml") == 3


def test_a_host_that_does_not_go_on_is_not_waited_for(clone: Path, host: Host) -> None:
    host.half = "p/two/compose.yml"
    code, _, err = make(clone, "--url", host.url, "--wait", "0.5")
    assert code == 1
    assert err.startswith("missing: p/two/compose.yml: ")
    assert "timed out" in err
    assert set(made(clone)) == {*FILES} - {"p/two/compose.yml"}


def test_a_host_that_sends_byte_by_byte_is_not_waited_for(clone: Path, host: Host) -> None:
    host.drip = "p/two/compose.yml"
    code, _, err = make(clone, "--url", host.url, "--wait", "0.5")
    assert code == 1
    assert "incomplete after 0.5 s" in err


def test_a_connection_that_is_cut_leaves_no_half_file(clone: Path, host: Host) -> None:
    host.half = "p/two/compose.yml"
    host.released.set()
    code, _, err = make(clone, "--url", host.url)
    assert code == 1
    assert "bytes too early" in err
    assert "p/two/compose.yml" not in made(clone)


def test_a_host_that_cannot_be_reached_is_tried_for_one_file(clone: Path, host: Host) -> None:
    host.server_close()
    code, out, err = make(clone, "--url", host.url)
    assert code == 1
    assert "0 of 4 files here; 4 missing" in out
    assert err.count("missing: ") == 4
    assert err.count("not tried: ") == 3


def test_a_killed_run_is_continued(clone: Path, host: Host) -> None:
    host.half = "o/one/default.env"
    with subprocess.Popen(command(clone, "--url", host.url), env=environment(clone), stdout=subprocess.DEVNULL) as run:
        try:
            assert host.half_sent.wait(60)
            code, _, err = make(clone, "--url", host.url)
            assert code == 1
            assert "in use by another scripts/corpus" in err
        finally:
            run.send_signal(signal.SIGKILL)
    assert set(made(clone)) == {"o/one/compose.yml", "o/one/dir/more.yml"}
    host.half = ""
    host.released.set()
    assert make(clone, "--url", host.url)[0] == 0
    assert made(clone) == FILES
    assert host.asked.count("o/one/compose.yml") == 1


def test_what_a_kill_left_of_a_file_is_overwritten(clone: Path, host: Host) -> None:
    directory = clone / "cache" / "openbalena-tests" / "corpus"
    part = directory / "p/two/compose.yml.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"serv")
    assert make(clone, "--url", host.url)[0] == 0
    assert made(clone) == FILES


def test_a_write_that_fails_half_way_leaves_no_file(clone: Path, host: Host) -> None:
    done = subprocess.run(
        command(clone, "--url", host.url), env=environment(clone), capture_output=True, text=True, timeout=120,
        check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8)),
    )  # fmt: skip
    assert done.returncode == 1
    assert "1 of 4 files here; 3 missing" in done.stdout
    assert "File too large" in done.stderr
    assert {*made(clone)} & {*FILES} == {"o/one/default.env"}
    assert make(clone, "--url", host.url)[0] == 0
    assert made(clone) == FILES


def flat(name: str) -> str:
    owner, repository, path = name.split("/", 2)
    return f"{owner}+{repository}/{path.replace('/', '__')}"


@pytest.mark.parametrize("layout", [str, flat])
def test_it_takes_the_files_from_a_directory(clone: Path, tmp_path: Path, layout: Any) -> None:
    source = tmp_path / "source"
    for name, content in FILES.items():
        path = source / layout(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert make(clone, "--from", source)[0] == 0
    assert made(clone) == FILES
    (source / layout("p/two/compose.yml")).write_bytes(b"another\n")
    (source / layout("o/one/default.env")).unlink()
    code, out, err = make(clone, "--from", source, tmp_path / "elsewhere")
    assert code == 1
    assert "2 of 4 files here; 2 missing" in out
    assert f"missing: o/one/default.env: not in {source}" in err
    assert "missing: p/two/compose.yml: " in err
    assert {*files(tmp_path / "elsewhere")} == {".lock", "o/one/compose.yml", "o/one/dir/more.yml"}


def test_a_directory_that_does_not_exist_is_a_usage_error(clone: Path, tmp_path: Path) -> None:
    code, _, err = make(clone, "--from", tmp_path / "absent")
    assert code == 2
    assert "not a directory" in err


OVER_THE_CORPUS = """
from corpus_cases import cases as cases
from corpus_cases import pytest_generate_tests as pytest_generate_tests

def test_each(cases):
    print("projects:", *sorted(case.name for case in cases))
"""


def pytest_over_the_corpus(clone: Path) -> tuple[int, str]:
    """Exit code and output of pytest on a test over the corpus, in the clone."""
    (clone / "tests" / "test_over_the_corpus.py").write_text(OVER_THE_CORPUS)
    arguments = ["-ra", "-v", "-s", "--rootdir", clone, "-p", "no:cacheprovider", "-c", "/dev/null", clone / "tests"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *map(str, arguments)],
        env={**environment(clone), "PYTHONPATH": f"{clone}/tests/shared", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_tests_run_on_what_is_here_and_are_skipped_with_the_count_on_what_is_not(clone: Path, host: Host) -> None:
    code, out = pytest_over_the_corpus(clone)
    assert code == 0
    assert "corpus: 0 of 4 files here; 4 missing, 3 of 3 projects not tested" in out
    assert "1 skipped" in out
    assert "passed" not in out
    del host.answers["o/one/default.env"]
    make(clone, "--url", host.url)
    code, out = pytest_over_the_corpus(clone)
    assert code == 0
    assert "projects: p/two/compose.yml\n" in out
    assert "corpus: 3 of 4 files here; 1 missing, 2 of 3 projects not tested" in out
    assert "1 passed, 1 skipped" in out
    host.answers.update(FILES)
    make(clone, "--url", host.url)
    code, out = pytest_over_the_corpus(clone)
    assert code == 0
    assert "projects: o/one/compose.yml o/one/dir/more.yml p/two/compose.yml\n" in out
    assert "skipped" not in out


def test_tests_fail_on_a_damaged_file(clone: Path, host: Host) -> None:
    make(clone, "--url", host.url)
    damaged = clone / "cache" / "openbalena-tests" / "corpus" / "p/two/compose.yml"
    damaged.write_bytes(b"damaged")
    code, out = pytest_over_the_corpus(clone)
    assert code == 1
    assert str(damaged) in out
    assert "passed" not in out


def test_tests_use_a_corpus_next_to_the_checkout(clone: Path) -> None:
    for name, content in FILES.items():
        path = clone.parent / "shared" / "corpus" / flat(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    code, out = pytest_over_the_corpus(clone)
    assert code == 0
    assert "1 passed" in out
    assert "skipped" not in out


def test_projects_are_restored_with_what_they_are_merged_onto(clone: Path, tmp_path: Path, host: Host) -> None:
    make(clone, "--url", host.url, tmp_path / "made")
    code = (
        "import compose_corpus as corpus, pathlib, sys\n"
        "for case in corpus.restore(pathlib.Path(sys.argv[1]), [pathlib.Path(sys.argv[2])]):\n"
        "    print(case.name, *(file.relative_to(sys.argv[1]) for file in case.files), case.environment)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "restored", tmp_path / "made"],
        env={**environment(clone), "PYTHONPATH": str(clone / "tests" / "shared")},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "o/one/compose.yml o/one/compose.yml {}",
        "o/one/dir/more.yml o/one/compose.yml o/one/dir/more.yml {'B': 'v'}",
        "p/two/compose.yml p/two/compose.yml {}",
    ]
    assert (tmp_path / "restored/o/one/.env").read_bytes() == FILES["o/one/default.env"]


def test_the_manifest_is_sound() -> None:
    rows = corpus.manifest()
    names = [row.name for row in rows]
    assert len(set(names)) == len(names) > 0
    for row in rows:
        assert len(row.commit) == 40 and int(row.commit, 16), row
        assert len(row.sha256) == 64 and int(row.sha256, 16), row
        assert row.kind in ("project", "invalid", "environment", "defaults"), row
        assert row.licence, row
        assert {f"{row.repository}/{path}" for path in row.onto} <= set(names), row
        # The flat layout has "__" for each slash.
        assert "__" not in row.name and "+" not in row.name, row


def test_the_documentation_has_the_size_of_the_corpus() -> None:
    rows = corpus.manifest()
    projects, repositories = sum(row.is_project for row in rows), len({row.repository for row in rows})
    sentence = f"{projects} public Compose and stack files of {repositories} repositories"
    assert sentence in (ROOT / "docs" / "compose-to-swarm.md").read_text()

"""The lab's S3 server, spoken to over HTTP by a client that signs on its own; boto3 was tried by hand."""

import hashlib
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from restic import Machine
from s3_client import ACCESS, SECRET, Client

from openbalena.backup import results, scripts, sets
from openbalena.base.names import BACKUP_SECRETS


def keys(answer: httpx.Response, name: str = "Key") -> list[str]:
    assert answer.status_code == 200, answer.text
    return re.findall(f"<{name}>([^<]*)</{name}>", answer.text)


def test_object_comes_back_whole_and_in_part(s3: Client) -> None:
    path = "/bucket/a b/ü+x=1~"
    assert s3.request("PUT", path, b"hello world").status_code == 200
    assert s3.request("GET", path).content == b"hello world"
    head = s3.request("HEAD", path)
    assert (head.content, head.headers["Content-Length"]) == (b"", "11")
    for wanted, content, where in (("0-4", b"hello", "0-4"), ("6-", b"world", "6-10"), ("-5", b"world", "6-10")):
        answer = s3.request("GET", path, Range=f"bytes={wanted}")
        assert (answer.status_code, answer.content) == (206, content)
        assert answer.headers["Content-Range"] == f"bytes {where}/11"
    assert s3.request("GET", path, Range="bytes=11-").status_code == 416
    assert s3.request("DELETE", path).status_code == 204
    assert s3.request("GET", path).status_code == 404
    assert list((s3.directory / "bucket").iterdir()) == []


def test_listing_in_pages_and_by_delimiter(s3: Client) -> None:
    names = [f"d/{number:02}" for number in range(7)] + ["d/sub/x", "d/sub/y", "e"]
    for name in names:
        s3.request("PUT", f"/bucket/{name}")
    assert keys(s3.request("GET", "/bucket")) == names
    found, token = [], ""
    while True:
        more = {"continuation-token": token} if token else {}
        answer = s3.request("GET", "/bucket", **{"list-type": "2", "prefix": "d/", "max-keys": "3", **more})
        found += keys(answer)
        token = "".join(keys(answer, "NextContinuationToken"))
        if not token:
            break
    assert found == names[:-1]
    answer = s3.request("GET", "/bucket", prefix="d/", delimiter="/")
    assert keys(answer) == names[:7]
    assert keys(answer, "Prefix") == ["d/", "d/sub/"]


def test_upload_in_parts(s3: Client) -> None:
    s3.request("PUT", "/bucket/source", b"0123456789")
    (upload,) = keys(s3.request("POST", "/bucket/whole", uploads=""), "UploadId")
    part = {"uploadId": upload}
    assert s3.request("PUT", "/bucket/whole", b"first-", partNumber="1", **part).status_code == 200
    copied = {"X_Amz_Copy_Source": "/bucket/source", "X_Amz_Copy_Source_Range": "bytes=2-4"}
    assert s3.request("PUT", "/bucket/whole", partNumber="2", **part, **copied).status_code == 200
    assert keys(s3.request("GET", "/bucket", uploads="", prefix="who")) == ["whole"]
    assert keys(s3.request("GET", "/bucket/whole", **part), "PartNumber") == ["1", "2"]
    assert s3.request("GET", "/bucket/whole").status_code == 404
    document = "".join(f"<Part><PartNumber>{number}</PartNumber></Part>" for number in (1, 2, 3))
    for wrong in (document, ""):
        body = f"<CompleteMultipartUpload>{wrong}</CompleteMultipartUpload>".encode()
        assert s3.request("POST", "/bucket/whole", body, **part).status_code == 400
    body = f"<C>{document.replace('<Part><PartNumber>3</PartNumber></Part>', '')}</C>".encode()
    assert s3.request("POST", "/bucket/whole", body, **part).status_code == 200
    assert s3.request("GET", "/bucket/whole").content == b"first-234"
    assert s3.request("GET", "/bucket/whole", **part).status_code == 404


def test_what_is_not_signed_rightly_is_refused(s3: Client) -> None:
    s3.request("PUT", "/bucket/key", b"content")
    assert s3.http.get(f"http://{s3.host}/bucket/key").status_code == 403
    assert s3.http.get(s3.presigned("/bucket/key")).content == b"content"
    assert s3.http.get(s3.presigned("/bucket/key").replace("Expires=60", "Expires=6000")).status_code == 403
    assert s3.http.get(s3.presigned("/bucket/key", age=timedelta(seconds=90))).status_code == 403
    assert s3.http.get(s3.presigned("/bucket/other").replace("other", "key")).status_code == 403
    s3.secret = "wrong"
    assert s3.request("GET", "/bucket/key").status_code == 403
    assert s3.http.get(s3.presigned("/bucket/key")).status_code == 403


def test_body_that_is_not_the_signed_one_is_refused(s3: Client) -> None:
    original, sent = b"what was signed", b"what was sent!!"
    send = s3.http.request
    s3.http.request = lambda *words, **options: send(*words, **(options | {"content": sent}))  # type: ignore[method-assign]
    assert s3.request("PUT", "/bucket/key", original).status_code == 400
    s3.http.request = send  # type: ignore[method-assign]
    assert s3.request("GET", "/bucket/key").status_code == 404


@pytest.mark.parametrize("key", ["../escape", "a/../../b", "a//b", "./a", "%2e%2e/x"])
def test_key_that_is_no_path_of_the_bucket(s3: Client, key: str) -> None:
    # httpx resolves dots in a URL; the signature is over what is sent, so the raw path goes in escaped.
    path = f"/bucket/{key}".replace("%2e", ".")
    escaped = quote(path, safe="/").replace(".", "%2E")
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    content = hashlib.sha256(b"").hexdigest()
    lines = f"host:{s3.host}\nx-amz-content-sha256:{content}\nx-amz-date:{stamp}\n"
    signed = "host;x-amz-content-sha256;x-amz-date"
    signature = s3.sign(f"PUT\n{quote(path, safe='/-_.~')}\n\n{lines}\n{signed}\n{content}", stamp)
    credential = f"Credential={ACCESS}/{s3.scope(stamp)}, SignedHeaders={signed}, Signature={signature}"
    headers = {"x-amz-date": stamp, "x-amz-content-sha256": content, "Authorization": f"AWS4-HMAC-SHA256 {credential}"}
    answer = s3.http.put(f"http://{s3.host}{escaped}", headers=headers)
    assert answer.status_code == 400, answer.text
    assert {path.name for path in s3.directory.iterdir()} == {"bucket", ".temporary"}


def test_key_below_or_above_another_is_refused(s3: Client) -> None:
    s3.request("PUT", "/bucket/a/b", b"kept")
    for key in ("a/b/c", "a/b/c/d", "a"):
        assert s3.request("PUT", f"/bucket/{key}").status_code == 409
    assert s3.request("GET", "/bucket/a/b").content == b"kept"


def test_many_clients_at_once(s3: Client) -> None:
    def put_and_delete(number: int) -> int:
        path = f"/bucket/same/directory/{number % 4}"
        codes = {s3.request("PUT", path, str(number).encode()).status_code, s3.request("DELETE", path).status_code}
        return len(codes - {200, 204})

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(put_and_delete, range(400))) == 0
    deadline = time.monotonic() + 5  # a request's own temporary file goes just after its answer
    while list((s3.directory / ".temporary").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_body_that_is_signed_in_chunks(s3: Client) -> None:
    """As restic sends it without TLS; a chunk that was changed or cut off on the way is refused."""
    for path, content in (("/bucket/whole", b"first-second"), ("/bucket/empty", b"")):
        assert s3.chunked(path, content, 6).status_code == 200
        assert s3.request("GET", path).content == content
    changed = s3.chunked("/bucket/changed", b"first-second", 6, lambda body: body.replace(b"second", b"secone"))
    assert changed.status_code == 403 and "SignatureDoesNotMatch" in changed.text
    cut = s3.chunked("/bucket/changed", b"first-second", 6, lambda body: body.replace(b"first-", b"first"))
    assert cut.status_code == 400 and "IncompleteBody" in cut.text
    assert s3.request("GET", "/bucket/changed").status_code == 404


def test_a_set_of_backups_is_saved_listed_and_read_back(s3: Client, tmp_path: Path) -> None:
    """With the scripts of a backup: restic's client is not ours."""
    machine = Machine(tmp_path / "machine")
    machine.directory.mkdir()
    keys = f"AWS_ACCESS_KEY_ID={ACCESS} AWS_SECRET_ACCESS_KEY={SECRET} RESTIC_PASSWORD=a-password"
    machine.secret(BACKUP_SECRETS[0], f"export RESTIC_REPOSITORY=s3:http://{s3.host}/bucket/backup {keys}\n")
    assert machine.run(scripts.LIST).code == scripts.NO_REPOSITORY
    assert machine.run(f". {scripts.SECRETS}/{BACKUP_SECRETS[0]}; restic --no-cache init").code == 0
    machine.secret(BACKUP_SECRETS[2], '{"format": 1}')
    (machine.directory / "volumes" / "s3-data").mkdir(parents=True)
    (machine.directory / "volumes" / "s3-data" / "object").write_bytes(b"content")
    options = scripts.options("my.example.com", ["set=s1"])
    assert results.saved_part(machine.run(scripts.save_volume("s3-data", options)).lines).bytes == 7
    saved = results.saved_part(machine.run(scripts.save_file(BACKUP_SECRETS[2], "manifest.json", options)).lines)
    assert results.unpacked("".join(machine.run(scripts.dump_manifest(saved.snapshot)).lines)) == '{"format": 1}'
    listed = sets.read_sets(results.unpacked("".join(machine.run(scripts.LIST).lines)))
    assert [each.id for each in listed.unfinished] == ["s1"]

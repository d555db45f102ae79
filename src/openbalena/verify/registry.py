"""The registry: an image pushed at one node and pulled at another, by tokens from the api.

Paths and status codes: distribution.github.io/distribution/spec/api/ (HTTP API V2).
"""

import hashlib
import json
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from openbalena.verify.account import bearer
from openbalena.verify.check import CheckError, Suspect, expect
from openbalena.verify.target import Target
from openbalena.verify.web import Response, Web

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

# Images pushed and pulled. The requests of an upload go to alternating addresses and so, with round robin, to different
# replicas; several rounds ensure that even if other requests come in between.
_ROUNDS = 3
_LAYER_SIZE = 64 * 1024


@dataclass
class _Transfer:
    """The repository of a check, and a counter that sends each request to the next address."""

    target: Target
    repository: str
    token: str
    turn: int = 0

    def ask(
        self, method: str, path: str, content: bytes | None = None, kind: str = "application/octet-stream"
    ) -> Response:
        """A request to the registry, authenticated; goes to the next address."""
        self.turn += 1
        headers = {**bearer(self.token), "Accept": f"{_MANIFEST}, */*"}
        if content is not None:
            headers["Content-Type"] = kind
        answer = Web(self.target).request(
            method, self.target.alternate(self.turn), "registry2", path, content=content, headers=headers
        )
        if answer.status_code in (401, 403):
            raise CheckError(
                f"the registry refused a token from the api ({answer.status_code})",
                "the registry's JWKS must contain the api's key and kid, and both must have the same issuer",
                Suspect("registry", "API_TOKENAUTH_JWKS"),
            )
        if answer.status_code >= 500:
            raise CheckError(
                f"{method} answered {answer.status_code}{_errors(answer)}",
                "the registry reaches its store through https://s3.<DNS_TLD>, or EXTERNAL_S3_ENDPOINT: see its logs",
                Suspect("registry", "REGISTRY2_S3_KEY, REGISTRY2_S3_SECRET"),
            )
        return answer

    def upload(self, content: bytes) -> str:
        """Push one blob in three requests, each to a different address; its digest."""
        begun = self.ask("POST", f"/v2/{self.repository}/blobs/uploads/", b"")
        _expect(begun, 202, "starting an upload")
        written = self.ask("PATCH", _location(begun), content)
        _expect(written, 202, "continuing an upload")
        digest = _digest(content)
        location = _location(written)
        done = self.ask("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}", b"")
        _expect(done, 201, "completing an upload")
        return digest

    def download(self, path: str) -> bytes:
        """Pull one blob or manifest; from the store if the registry redirects there."""
        answer = self.ask("GET", path)
        if answer.status_code == 307:
            url, web = urlsplit(answer.headers["Location"]), Web(self.target)
            name, own, _ = (url.hostname or "").rpartition(f".{self.target.dns_tld}")
            if own:
                answer = web.request("GET", self.target.alternate(self.turn), name, f"{url.path}?{url.query}")
            else:
                answer = web.outside(url.geturl())
        _expect(answer, 200, "pulling")
        return answer.content


def push_and_pull(target: Target) -> str:
    """Images pushed through changing addresses can be pulled intact through others, with tokens from the api."""
    for turn in range(_ROUNDS):
        repository = f"v2/{secrets.token_hex(16)}"
        transfer = _Transfer(target, repository, token(target, repository, turn), turn)
        layer, config = secrets.token_bytes(_LAYER_SIZE), json.dumps({"created": secrets.token_hex(8)}).encode()
        blobs = [{"size": len(blob), "digest": transfer.upload(blob)} for blob in (config, layer)]
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": {"mediaType": _CONFIG, **blobs[0]},
                "layers": [{"mediaType": _LAYER, **blobs[1]}],
            }
        ).encode()
        _expect(transfer.ask("PUT", f"/v2/{repository}/manifests/latest", manifest, _MANIFEST), 201, "the manifest")
        # Another token, got at another address, for another client's pull.
        transfer.token = token(target, repository, turn + 1)
        for reference in ("latest", _digest(manifest)):
            _same(manifest, transfer.download(f"/v2/{repository}/manifests/{reference}"))
        for blob, content in zip(blobs, (config, layer), strict=True):
            _same(content, transfer.download(f"/v2/{repository}/blobs/{blob['digest']}"))
    return f"{_ROUNDS} images of {_LAYER_SIZE // 1024} KiB, digests correct"


def closed(target: Target) -> str:
    """Without a token the registry refuses access and names the api as the source of tokens."""
    for address in target.addresses:
        answer = Web(target).request("GET", address, "registry2", "/v2/")
        challenge = answer.headers.get("WWW-Authenticate", "")
        if answer.status_code != 401 or f"https://{target.host('api')}/auth/v1/token" not in challenge:
            raise CheckError(
                f"/v2/ at {address} answered {answer.status_code} with the challenge '{challenge}'",
                "503 means that HAProxy has no healthy registry task: see the registry's logs",
                Suspect("registry", "REGISTRY2_TOKEN_AUTH_REALM"),
            )
    return "401 without a token, with the api as realm"


def token(target: Target, repository: str, turn: int) -> str:
    """A token to push and pull, requested from the address for `turn`."""
    path = f"/auth/v1/token?service={target.host('registry2')}&scope=repository:{repository}:push,pull"
    answer = Web(target).request(
        "GET", target.alternate(turn), "api", path, basic=("verify", target.value("TOKEN_AUTH_BUILDER_TOKEN"))
    )
    if answer.status_code == 401:
        raise CheckError(
            f"the api refused the builder's token at {target.alternate(turn)}",
            "the api's token differs from the one in .env: deploy again",
            Suspect("api", "TOKEN_AUTH_BUILDER_TOKEN"),
        )
    todo = "the api signs with its key file: see the api's logs"
    expect(answer, 200, "asking the api for a registry token", todo, Suspect("api", "TOKEN_AUTH_CERT_KEY"))
    return str(answer.json()["token"])


def _location(answer: Response) -> str:
    """Path and query of the URL at which an upload continues."""
    url = urlsplit(answer.headers["Location"])
    return f"{url.path}?{url.query}" if url.query else url.path


def _expect(answer: Response, status: int, what: str) -> None:
    if answer.status_code == status:
        return
    errors = _errors(answer)
    # Distribution's response if the upload's state, signed by the replica that started it, cannot be verified.
    if "BLOB_UPLOAD_INVALID" in errors:
        raise CheckError(
            f"{what} on another replica was refused{errors}",
            "the registry's tasks sign with different secrets: deploy again from one .env",
            Suspect("registry", "REGISTRY2_SECRETKEY"),
        )
    raise CheckError(f"{what} answered {answer.status_code}{errors}", "see the registry's logs", Suspect("registry"))


def _errors(answer: Response) -> str:
    """The registry's error codes, as ` (CODE, CODE)`; "" if the response has none."""
    try:
        codes = [str(error["code"]) for error in answer.json()["errors"]]
    except (ValueError, KeyError, TypeError):
        return ""
    return f" ({', '.join(codes)})"


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _same(sent: bytes, received: bytes) -> None:
    if sent != received:
        raise CheckError(
            f"pushed {_digest(sent)}, pulled {_digest(received)}", "the store returns different data", Suspect("s3")
        )

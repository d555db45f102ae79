"""The public half of the api's token key, as the registry wants it."""

import hashlib
import json
from base64 import b32encode, urlsafe_b64encode

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """libtrust's form: SHA-256 of the DER public key, its first 30 bytes in base32, groups of four joined with ':'.

    Source: docker/libtrust, util.go, keyIDFromCryptoKey.
    """
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    text = b32encode(hashlib.sha256(der).digest()[:30]).decode()
    return ":".join(text[start : start + 4] for start in range(0, len(text), 4))


def key_set(key: ec.EllipticCurvePublicKey) -> str:
    """The JSON Web Key Set (RFC 7517, RFC 7518 section 6.2) of the one P-256 key."""
    numbers = key.public_numbers()
    described = {
        "kty": "EC",
        "crv": "P-256",
        "x": _coordinate(numbers.x),
        "y": _coordinate(numbers.y),
        "use": "sig",
        "alg": "ES256",
        "kid": key_id(key),
    }
    return json.dumps({"keys": [described]}, indent=2) + "\n"


def _coordinate(number: int) -> str:
    return urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()

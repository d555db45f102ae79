"""The deployment's keys and certificates: one directory, made once, then only added to."""

from base64 import b64encode
from pathlib import Path

from openbalena.errors import UsageError
from openbalena.files import private_directory


def ensure(directory: Path, dns_tld: str) -> None:
    """Make what is missing in `directory` (mode 700) for the domain `dns_tld`; nothing that is there changes.

    A run that was killed is finished by the next. Raises UsageError for files that do not belong together or to
    `dns_tld`, with what to do; then nothing was made.
    """
    # Here and not above: cryptography takes longer to import than most commands to run.
    from openbalena.secrets.check import problems
    from openbalena.secrets.make import make

    private_directory(directory)
    wrong = problems(directory, dns_tld)
    if wrong:
        raise UsageError("\n".join(wrong))
    make(directory, dns_tld)


def public_values(directory: Path) -> dict[str, str]:
    """ROOT_CA (base64 of the CA certificates that containers and devices trust) and API_TOKENAUTH_JWKS (base64).

    Raises UsageError where the files are not there yet.
    """
    files = {"ROOT_CA": directory / "ca-bundle.pem", "API_TOKENAUTH_JWKS": directory / "api.jwks.json"}
    missing = [str(path) for path in files.values() if not path.exists()]
    if missing:
        raise UsageError(f"{missing[0]}: not there: run ./open-balena.sh config")
    return {name: b64encode(path.read_bytes()).decode() for name, path in files.items()}

"""Which certificates of a CA's bundle a client has to trust."""

from cryptography import x509


def roots(bundle: str) -> list[x509.Certificate]:
    """Those that are signed by themselves; the whole bundle where none is (an intermediate that is trusted as such)."""
    held = x509.load_pem_x509_certificates(bundle.encode())
    return [one for one in held if one.subject == one.issuer] or held

"""Render files from the environment, as confd does (balena-io/open-balena-vpn v12.3.105, config/confd/templates)."""

import base64
import os
from pathlib import Path

STATE = Path("/run/vpn")
_ENV = Path("/usr/src/app/config/env")
# Files and the variables whose contents (base64) they consist of, each followed by a newline. ca.crt is ROOT_CA, then
# VPN_OPENVPN_CA_CRT, and OpenVPN rejects duplicate names (2.6, ssl_openssl.c, tls_ctx_load_ca).
_FILES = {
    "server.key": ("VPN_OPENVPN_SERVER_KEY",),
    "server.crt": ("VPN_OPENVPN_SERVER_CRT",),
    "ca.crt": ("ROOT_CA", "VPN_OPENVPN_CA_CRT"),
    "dh.pem": ("VPN_OPENVPN_SERVER_DH",),
}
# env.tmpl: the variables of the process, and those of the container they come from, with defaults. It gets no others.
_TAKEN = {
    "BALENA_API_HOST": ("API_HOST", ""),
    "BALENA_API_INTERNAL_HOST": ("API_INTERNAL_HOST", ""),
    "UV_THREADPOOL_SIZE": ("UV_THREADPOOL_SIZE", "128"),
    "VPN_BYTECOUNT_INTERVAL": ("VPN_BYTECOUNT_INTERVAL", "60"),
    "VPN_GATEWAY": ("VPN_GATEWAY", ""),
    "VPN_BASE_SUBNET": ("VPN_BASE_SUBNET", "100.64.0.0/10"),
    "VPN_SERVICE_API_KEY": ("VPN_SERVICE_API_KEY", ""),
    "VPN_GUEST_API_KEY": ("VPN_GUEST_API_KEY", ""),
    "VPN_KEEPALIVE_FREQUENCY": ("VPN_KEEPALIVE_FREQUENCY", "10"),
    "VPN_KEEPALIVE_TIMEOUT": ("VPN_KEEPALIVE_TIMEOUT", "60"),
    "DEFAULT_VERBOSE_LOGS": ("VPN_VERBOSE_LOGS", "true"),
    "METRICS_TIMEOUT": ("METRICS_TIMEOUT", ""),
    "DEFAULT_SIGTERM_TIMEOUT": ("DEFAULT_SIGTERM_TIMEOUT", "120"),
    "MINIMUM_DRAIN_RATE": ("MINIMUM_DRAIN_RATE", ""),
    "VPN_HAPROXY_SOCKET": ("VPN_HAPROXY_SOCKET", "/run/haproxy.sock"),
    "VPN_DOWNRATE": ("VPN_DOWNRATE", ""),
    "VPN_UPRATE": ("VPN_UPRATE", ""),
    "LEARN_ADDRESS_DEBUG": ("LEARN_ADDRESS_DEBUG", "false"),
}
# Only if the container has them.
_OPTIONAL = (
    *("API_DEVICE_STATE_POST_BATCH_SIZE", "VPN_SERVICE_REGISTER_INTERFACE", "TRUST_PROXY"),
    *("VPN_INSTANCE_SUBNET_BITMASK", "VPN_AUTH_CACHE_TIMEOUT", "DELAY_ON_AUTH_FAIL"),
)


def lines() -> list[str]:
    production = os.environ.get("PRODUCTION_MODE") == "true"
    count = (os.environ.get("VPN_INSTANCE_COUNT") or "0") if production else "1"
    trusted = "/etc/ssl/certs/balenaRootCA.pem" if os.environ.get("ROOT_CA") else ""
    values = {
        "NODE_ENV": "production" if production else "development",
        "NODE_EXTRA_CA_CERTS": trusted,
        "VPN_INSTANCE_COUNT": count,
        "VPN_CONNECT_INSTANCE_COUNT": "0" if production else "1",
        **{name: os.environ.get(source) or default for name, (source, default) in _TAKEN.items()},
        **{name: os.environ[name] for name in _OPTIONAL if os.environ.get(name)},
    }
    return [f"{name}={value}" for name, value in values.items()]


def main() -> None:
    STATE.mkdir(mode=0o700, exist_ok=True)
    for name, variables in _FILES.items():
        path = STATE / name
        path.touch(mode=0o600)
        path.write_bytes(b"".join(base64.b64decode(os.environ.get(each, "")) + b"\n" for each in variables))
    _ENV.parent.mkdir(exist_ok=True)
    _ENV.touch(mode=0o600)
    _ENV.write_text("\n".join(lines()) + "\n")


if __name__ == "__main__":
    main()

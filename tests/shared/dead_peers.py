"""What a container has for connections to peers that are gone, as its kernel says it."""

_NAMES = ("tcp_keepalive_time", "tcp_keepalive_intvl", "tcp_keepalive_probes", "tcp_retries2", "tcp_syn_retries")
# A command in a container, and the words that it has to print.
LIMITS = ("cat", *(f"/proc/sys/net/ipv4/{name}" for name in _NAMES))
LIMITED = ["30", "5", "3", "7", "4"]

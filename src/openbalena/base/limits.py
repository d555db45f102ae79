"""Limits of Docker Swarm that more than one package checks."""

# Bytes; swarmkit: MaxSecretSize, MaxConfigSize (docs.docker.com/engine/swarm/secrets, /configs).
MAXIMUM_BYTES = {"secrets": 500 * 1024, "configs": 1000 * 1024}

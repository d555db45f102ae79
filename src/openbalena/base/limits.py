"""Limits of Docker Swarm that more than one module checks."""

# Bytes; swarmkit: MaxSecretSize, MaxConfigSize (docs.docker.com/engine/swarm/secrets, /configs).
MAXIMUM_BYTES = {"secrets": 500 * 1024, "configs": 1000 * 1024}
# Characters of the name of a secret or config (swarmkit, manager/controlapi/common.go).
MAXIMUM_OBJECT_NAME = 64

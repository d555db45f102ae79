"""The swarm: reading its state (state), deciding (preflight, convergence, problems), acting (deploy, down, lock)."""

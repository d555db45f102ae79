"""The cluster: read it (state), decide (preflight, convergence, problems, labels), act (deploy, down, lock)."""

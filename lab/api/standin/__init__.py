"""Stand-in for open-balena-api: what the deployment's other services and the acceptance checks need of it."""

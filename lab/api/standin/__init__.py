"""Stand-in for open-balena-api: the parts that the deployment's other services and the acceptance checks use."""

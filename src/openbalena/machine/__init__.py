"""One machine: `docker compose` runs the services; what it cannot do (health, adopting volumes) is done here."""

"""One machine: `docker compose` runs the services; what it cannot do (health, seeding, taking over) is done here."""

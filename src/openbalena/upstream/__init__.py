"""Facts about the services in openBalena's own Compose file, to compare with ours and with its next version."""

"""What openBalena's own Compose file gives its services, as facts that ours and its next version are compared with."""

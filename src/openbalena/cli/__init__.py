"""What the user types: one module per command or group of commands, no decisions."""

"""What stands around OpenVPN: registration, the health check, and the HTTP CONNECT tunnel to devices."""

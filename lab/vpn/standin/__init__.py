"""The program around OpenVPN: registration, health check, and the HTTP CONNECT tunnel to devices."""

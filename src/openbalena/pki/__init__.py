"""Tokens and certificates: makes what is missing, keeps what is there."""

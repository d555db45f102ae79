"""Certificates of Let's Encrypt, got and renewed by cert-manager, in both modes."""

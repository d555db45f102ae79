"""A public CA with ACME (pebble), and the DNS for its challenges, written through the APIs of two providers."""

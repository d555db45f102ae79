"""A public CA with ACME (pebble), and the DNS in which it looks for challenges, written through two providers' APIs."""

"""A small private CA with the parts of cfssl's API that openBalena uses."""

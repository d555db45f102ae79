"""The Docker Engine and its command line; knows nothing of openBalena."""

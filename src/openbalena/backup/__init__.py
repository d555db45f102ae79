"""Saving a deployment's data in a restic repository, in both modes, and what may be restored onto what."""

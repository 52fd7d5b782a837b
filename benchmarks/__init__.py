"""Measured, never asserted: see `make bench`."""

"""Countwheel, a distributed job scheduler: calls a URL at the right millisecond, once, and keeps the record."""

__version__ = "0.1.0"

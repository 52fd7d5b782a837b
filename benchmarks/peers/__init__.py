"""Peers on the same work as ours: each under its own public API, on the same PostgreSQL, calling the same sink."""

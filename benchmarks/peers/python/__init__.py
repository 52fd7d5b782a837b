"""Harnesses of the peers written in Python. They run in a virtual environment of the peers' own, not in ours."""

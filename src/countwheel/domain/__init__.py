"""The rules, pure: no I/O, no clock reads, no randomness. Time and chance arrive as arguments."""

"""The table's rows, in its order. A new one is a module with a `ROW`, and a line here."""

from benchmarks import drain, punctuality

ROWS = (drain.ROW, punctuality.ROW)

"""The table's rows, in its order. A new one is a module with a `ROW`, and a line here."""

from benchmarks import cost, drain, endurance, herd, nodes, punctuality, recurring, standing
from benchmarks.peers import row as peers

ROWS = (
    drain.ROW,
    recurring.ROW,
    punctuality.ROW,
    standing.ROW,
    herd.ROW,
    cost.ROW,
    endurance.ROW,
    nodes.ROW,
    peers.ROW,
)

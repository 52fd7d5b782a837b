"""The table's rows, in its order. A new one is a module with a `ROW`, and a line here."""

from benchmarks import (
    cost,
    creates,
    drain,
    endurance,
    herd,
    nodes,
    punctuality,
    reads,
    recurring,
    standing,
    start,
)
from benchmarks.peers import row as peers

ROWS = (
    drain.ROW,
    recurring.ROW,
    punctuality.ROW,
    creates.ROW,
    standing.ROW,
    herd.ROW,
    cost.ROW,
    endurance.ROW,
    nodes.ROW,
    reads.ROW,
    start.ROW,
    peers.ROW,
)

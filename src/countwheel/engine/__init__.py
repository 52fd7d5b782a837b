"""The engine: background services that take runs from the database to their targets and back into the ledger.

The way of a run through a node, one service a file:

    claimer -> timer -> dispatcher -> recorder
               (held: what this node has the right to)

and beside it: `node` renews the lease and measures the database's time, `recovery` takes over from lost nodes,
`canceller` stops what has been cancelled, `announcer` shows long calls as RUNNING, `sweeper` re-arms broken chains,
`pruner` makes and drops partitions, and deletes what else is past its time. Every service has `run_once()`, and
`service.supervise` keeps it going: an exception is logged and the service goes on, because a scheduler that stops in
silence is the worst of failures.

What a crash leaves behind is always one of two things: a row nobody holds, which is claimed when due, or a row held
by a node whose lease ends, which recovery frees with a higher fence.
"""

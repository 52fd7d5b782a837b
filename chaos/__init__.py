"""The fault harness: three nodes, a PostgreSQL, a sink and clients, and everything goes wrong, by seed.

    stage.py      PostgreSQL, nodes as processes, sink: started, killed, frozen, healed, always by pid
    node.py       what a node process runs: Countwheel with a clock that can be stepped, and perhaps a mutation
    mutations.py  preventions taken out, one each, to see that the checker notices
    proxy.py      between nodes and PostgreSQL: cuts connections, also in the middle of a COMMIT
    sink.py       the target: notes what arrives, and misbehaves
    clients.py    create, change, pause, cancel and delete jobs, and note what they know
    faults.py     what is done to the system, and when
    ledger.py     reads what the database says in the end
    round.py      one round: act, heal, wait, read, judge (by the package `checker`, which knows none of this)

`make chaos` runs a round of five minutes; `python -m chaos --help` says what else there is.
"""

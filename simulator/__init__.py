"""The simulator: whole histories of nodes, crashes and bad luck in milliseconds, each from one seed.

The engine's own code runs here, all of it, on a virtual clock: time passes only when everybody waits. The database is a
real PostgreSQL, asked with the engine's own SQL, whose clock is virtual too (docs/decisions/0010). What is not there
is what decides nothing: processes, sockets, uvicorn. A crash, a freeze, a lost answer can strike at every await.

    loop.py      an event loop that does not wait: it moves its clock
    database.py  PostgreSQL on virtual time: answers late, fails, or commits and says nothing
    target.py    what is called: answers, refuses, drops, hangs
    node.py      one node: an engine that can be killed, frozen, stepped
    clients.py   create, change, cancel, delete
    play.py      one history: play it, heal, judge it with `checker`

`python -m simulator --seed 42` plays one and shows what happened; `--count 2000` plays many.
"""

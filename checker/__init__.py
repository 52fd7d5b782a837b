"""The independent checker: was what clients saw, what receivers saw and what the ledger says one consistent story?

It shares no line with the engine. It knows the promises, reads schedules by its own expansion of cron, and judges a
`History`: operations as the client saw them (invoked, answered or unknown), receipts as the target saw them, the
ledger's rows, and the faults that were injected, each with its time.

    history.py      what was seen
    cron.py         which instants a schedule names, the slow and plain way
    expectation.py  which of them must have been taken up, and which may
    evidence.py     what was seen, indexed
    rules.py        the promises, one function each
    blind.py        the same question without ids: by label and time alone
    report.py       the verdict, for people

`python -m checker FILE` judges a history that was kept.
"""

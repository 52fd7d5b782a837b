"""The only package that knows PostgreSQL.

`sql/*.sql` holds every query, named and described; `migrations/` the schema, forward only; one module a table (or a
few that change together). Correctness rests on unique keys, compare-and-set and row locks alone: no advisory locks,
no notification that anything depends on, no sequence on a hot path.
"""

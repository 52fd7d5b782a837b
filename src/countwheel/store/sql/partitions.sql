-- name: list_partitions
-- The daily partitions of a table, by name.
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = %(parent)s::regclass ORDER BY c.relname;

-- name: partition_sizes
-- The same of the ledger, with how many bytes each has, and the moment.
SELECT c.relname, pg_relation_size(c.oid), now() FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'run_history'::regclass ORDER BY c.relname;

-- name: database_day
SELECT (now() AT TIME ZONE 'UTC')::date;

-- name: prune_default_history
-- Rows that a wrong clock put outside every day.
DELETE FROM run_history_default WHERE finished_at < now() - make_interval(days => %(retention_days)s);

-- name: prune_default_attempts
DELETE FROM attempts_default WHERE finished_at < now() - make_interval(days => %(retention_days)s);

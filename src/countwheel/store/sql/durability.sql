-- name: durability_settings
-- What this server is set to, as our sessions see it.
SELECT name, setting FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names');

-- name: standbys
-- Who replicates from this server. Without the right to look (pg_monitor) `sync_state` is NULL.
SELECT application_name, sync_state FROM pg_stat_replication;

-- name: oldest_transaction
-- Seconds since the start of the oldest transaction of this database: it keeps dead rows from being vacuumed.
SELECT coalesce(max(extract(epoch FROM now() - xact_start)), 0)::float8 FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';

-- name: register_node
INSERT INTO nodes (node_id, host, pid, version, lease_until)
VALUES (%(node_id)s, %(host)s, %(pid)s, %(version)s, now() + make_interval(secs => %(lease_seconds)s));

-- name: renew_lease
-- The bulk renewal: one row carries the lease of everything that the node holds. No row: a peer has declared it lost.
UPDATE nodes SET heartbeat_at = now(), lease_until = now() + make_interval(secs => %(lease_seconds)s)
WHERE node_id = %(node_id)s AND lost_at IS NULL AND stopped_at IS NULL
RETURNING clock_timestamp();

-- name: stop_node
UPDATE nodes SET stopped_at = now() WHERE node_id = %(node_id)s AND lost_at IS NULL AND stopped_at IS NULL;

-- name: lose_nodes
-- Declare dead whoever let its lease end, by database time.
UPDATE nodes SET lost_at = now()
WHERE lost_at IS NULL AND stopped_at IS NULL AND lease_until < now()
RETURNING node_id;

-- name: lose_all_nodes
-- Only for a database that one server owns alone (`countwheel dev` behind its lock): whoever is in it is dead.
UPDATE nodes SET lost_at = now() WHERE lost_at IS NULL AND stopped_at IS NULL RETURNING node_id;

-- name: prune_nodes
DELETE FROM nodes n WHERE coalesce(n.lost_at, n.stopped_at) < now() - interval '1 day'
  AND NOT EXISTS (SELECT FROM runs r WHERE r.node_id = n.node_id);

-- name: live_nodes
SELECT count(*) FROM nodes WHERE lost_at IS NULL AND stopped_at IS NULL AND lease_until > now();

-- name: database_time
SELECT clock_timestamp();

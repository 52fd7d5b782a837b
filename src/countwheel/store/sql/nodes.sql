-- name: register_node
INSERT INTO nodes (node_id, host, pid, version, roles, machine, process_started, lease_until)
VALUES (%(node_id)s, %(host)s, %(pid)s, %(version)s, %(roles)s, %(machine)s, %(process_started)s,
    now() + make_interval(secs => %(lease_seconds)s));

-- name: renew_lease
-- The bulk renewal: one row carries the lease of everything that the node holds. No row: a peer has declared it lost.
UPDATE nodes SET heartbeat_at = now(), lease_until = now() + make_interval(secs => %(lease_seconds)s),
    clock_offset_ms = %(clock_offset_ms)s
WHERE node_id = %(node_id)s AND lost_at IS NULL AND stopped_at IS NULL
RETURNING clock_timestamp();

-- name: stop_node
UPDATE nodes SET stopped_at = now() WHERE node_id = %(node_id)s AND lost_at IS NULL AND stopped_at IS NULL;

-- name: lose_nodes
-- Declare dead whoever let its lease end, by database time.
UPDATE nodes SET lost_at = now()
WHERE lost_at IS NULL AND stopped_at IS NULL AND lease_until < now()
RETURNING node_id;

-- name: nodes_beside
-- The other nodes of this machine that are said to be alive: their processes can be looked at.
SELECT node_id, pid, process_started FROM nodes
WHERE machine = %(machine)s AND node_id <> %(node_id)s AND lost_at IS NULL AND stopped_at IS NULL;

-- name: lose_named
-- Declare dead whose process is gone: nobody needs to wait for its lease.
UPDATE nodes SET lost_at = now()
WHERE node_id = ANY(%(node_ids)s) AND lost_at IS NULL AND stopped_at IS NULL
RETURNING node_id;

-- name: list_nodes
-- A page of nodes by id, the ended ones of the last day too.
SELECT n.node_id, n.roles, n.host, n.pid, n.version,
    CASE WHEN n.stopped_at IS NOT NULL THEN 'STOPPED' WHEN n.lost_at IS NOT NULL THEN 'LOST'
        WHEN n.lease_until > now() THEN 'LIVE' ELSE 'SILENT' END,
    n.started_at, n.heartbeat_at, n.lease_until, coalesce(n.stopped_at, n.lost_at), n.clock_offset_ms,
    (SELECT count(*) FROM runs r WHERE r.node_id = n.node_id)
FROM nodes n
WHERE (%(after)s::text IS NULL OR n.node_id > %(after)s::text)
ORDER BY n.node_id
LIMIT %(limit)s::int;

-- name: skewed_nodes
-- Living nodes whose clock and the database's disagree.
SELECT node_id, clock_offset_ms FROM nodes
WHERE lost_at IS NULL AND stopped_at IS NULL AND lease_until > now() AND abs(clock_offset_ms) > %(limit_ms)s
ORDER BY node_id;

-- name: lose_all_nodes
-- Only for a database that one server owns alone (`countwheel dev` behind its lock): whoever is in it is dead.
UPDATE nodes SET lost_at = now() WHERE lost_at IS NULL AND stopped_at IS NULL RETURNING node_id;

-- name: prune_nodes
DELETE FROM nodes n WHERE coalesce(n.lost_at, n.stopped_at) < now() - interval '1 day'
  AND NOT EXISTS (SELECT FROM runs r WHERE r.node_id = n.node_id);

-- name: live_nodes
SELECT count(*) FROM nodes WHERE %(role)s = ANY(roles) AND lost_at IS NULL AND stopped_at IS NULL AND lease_until > now();

-- name: database_time
SELECT clock_timestamp();

-- name: find_restricted
-- Every target that somebody has limited or that is unwell: the table holds no others for long.
SELECT {{target_columns}} FROM targets t;

-- name: lock_target
-- For a decision about its pace. Whoever finds it locked comes again: a peer is deciding.
SELECT {{target_columns}} FROM targets t WHERE t.tenant_id = %(tenant_id)s AND t.name = %(name)s
FOR NO KEY UPDATE SKIP LOCKED;

-- name: lock_new_target
-- The same for what a node has found out, which must not be lost: the row is made where there is none, and waited for. Of
-- those that no person has said anything of a tenant has so many: what was found of others longest ago makes room.
WITH oldest AS MATERIALIZED (
    SELECT t.name FROM targets t
    WHERE t.tenant_id = %(tenant_id)s AND t.name <> %(name)s AND {{is_found_alone}}
    ORDER BY greatest(t.opened_at, t.probed_at, t.slowed_at) DESC OFFSET %(most)s::int - 1
),
locked AS MATERIALIZED (
    SELECT t.name FROM targets t JOIN oldest ON oldest.name = t.name
    WHERE t.tenant_id = %(tenant_id)s AND {{is_found_alone}}
    FOR UPDATE OF t SKIP LOCKED -- a peer that has one is deciding about it, and might wait for us
),
forgotten AS (
    DELETE FROM targets t USING locked l WHERE t.tenant_id = %(tenant_id)s AND t.name = l.name
)
INSERT INTO targets AS t (tenant_id, name) VALUES (%(tenant_id)s, %(name)s)
ON CONFLICT (tenant_id, name) DO UPDATE SET name = excluded.name
RETURNING {{target_columns}};

-- name: write_found
-- What the engine has found out, or given out. Touches no index: a HOT update.
UPDATE targets SET
    next_slot_at = %(next_slot_at)s, opened_at = %(opened_at)s, open_until = %(open_until)s, openings = %(openings)s,
    probes = %(probes)s, probed_at = %(probed_at)s, open_reason = %(open_reason)s, slowed_rate = %(slowed_rate)s,
    slowed_from = %(slowed_from)s, slowed_at = %(slowed_at)s
WHERE tenant_id = %(tenant_id)s AND name = %(name)s;

-- name: delete_spent
-- Targets that nobody limits and that are well again. Asked once more: somebody may have limited one meanwhile.
DELETE FROM targets t USING unnest(%(tenant_ids)s::uuid[], %(names)s::text[]) AS s (tenant_id, name)
WHERE t.tenant_id = s.tenant_id AND t.name = s.name
  AND t.max_concurrency IS NULL AND t.rate_per_second IS NULL AND t.breaker IS NULL AND t.paused_at IS NULL
  AND t.open_until IS NULL AND (t.opened_at IS NULL OR t.opened_at < now() - interval '10 minutes')
  AND (t.slowed_at IS NULL OR t.slowed_at < now() - interval '10 minutes');

-- name: lanes
-- Each lane that holds something, with when its first run is due. One step of the index a lane, however many runs each has.
WITH RECURSIVE waiting AS (
    (
        SELECT r.tenant_id, r.lane, r.due_at FROM runs r WHERE r.node_id IS NULL AND r.set_aside
        ORDER BY r.tenant_id, r.lane, r.due_at LIMIT 1
    )
    UNION ALL
    SELECT following.tenant_id, following.lane, following.due_at
    FROM waiting CROSS JOIN LATERAL (
        SELECT r.tenant_id, r.lane, r.due_at FROM runs r
        WHERE r.node_id IS NULL AND r.set_aside AND (r.tenant_id, r.lane) > (waiting.tenant_id, waiting.lane)
        ORDER BY r.tenant_id, r.lane, r.due_at LIMIT 1
    ) AS following
)
SELECT array_agg(tenant_id), array_agg(lane), array_agg(due_at), {{took_seconds}} FROM waiting;

-- name: in_flight
-- How many runs of a lane any node holds. The caller has locked the target: nobody else claims from it meanwhile.
SELECT count(*) FROM runs r
WHERE r.tenant_id = %(tenant_id)s AND r.lane = %(lane)s AND r.node_id IS NOT NULL AND r.set_aside;

-- name: claim_from_lane
-- Take up to {{size}} runs of a lane, earliest first.
WITH picked AS MATERIALIZED (
    SELECT r.job_id, r.ctid AS place FROM runs r
    WHERE r.tenant_id = %(tenant_id)s AND r.lane = %(lane)s AND r.node_id IS NULL AND r.set_aside
      AND r.due_at <= now() + make_interval(secs => %(look_ahead_seconds)s)
    ORDER BY r.due_at
    LIMIT {{size}} -- literal, as in `claim`
    FOR UPDATE SKIP LOCKED
)
{{take_picked}};

-- name: put_lane
-- Let calls that are under way count as their target's: its concurrency was limited after they were claimed.
UPDATE runs r SET lane = h.lane, set_aside = true
FROM unnest(%(job_ids)s::uuid[], %(run_ids)s::uuid[], %(fences)s::int4[], %(lanes)s::text[])
    AS h (job_id, run_id, fence, lane)
WHERE r.job_id = h.job_id AND r.run_id = h.run_id AND r.fence = h.fence AND NOT r.set_aside
  AND coalesce(r.node_id, '') = %(node_id)s;

-- name: list_targets
-- One target, or a page of them by name: those that have a row, and those that something waits for.
WITH RECURSIVE lane AS (
    (
        SELECT r.lane AS name FROM runs r
        WHERE r.tenant_id = %(tenant_id)s AND r.node_id IS NULL AND r.set_aside
          AND r.lane > coalesce(%(after)s::text, '') AND (%(name)s::text IS NULL OR r.lane = %(name)s::text)
        ORDER BY r.lane LIMIT 1
    )
    UNION ALL
    SELECT following.lane
    FROM lane CROSS JOIN LATERAL (
        SELECT r.lane FROM runs r
        WHERE r.tenant_id = %(tenant_id)s AND r.node_id IS NULL AND r.set_aside AND r.lane > lane.name
          AND (%(name)s::text IS NULL OR r.lane = %(name)s::text)
        ORDER BY r.lane LIMIT 1
    ) AS following
),
page AS (
    SELECT name FROM (
        (SELECT name FROM lane LIMIT %(limit)s::int)
        UNION
        (
            SELECT known.name FROM targets known
            WHERE known.tenant_id = %(tenant_id)s AND known.name > coalesce(%(after)s::text, '')
              AND (%(name)s::text IS NULL OR known.name = %(name)s::text)
            ORDER BY known.name LIMIT %(limit)s::int
        )
    ) AS both_kinds
    ORDER BY name LIMIT %(limit)s::int
)
SELECT %(tenant_id)s::uuid, page.name, t.max_concurrency, t.rate_per_second, t.burst, t.breaker, t.paused_at, t.pause_reason,
    t.next_slot_at, t.opened_at, t.open_until, coalesce(t.openings, 0), coalesce(t.probes, 0), t.probed_at, t.open_reason,
    t.slowed_rate, t.slowed_from, t.slowed_at, clock_timestamp(),
    (
        SELECT count(*) FROM (
            SELECT FROM runs r
            WHERE r.tenant_id = %(tenant_id)s AND r.lane = page.name AND r.node_id IS NULL AND r.set_aside
              AND r.due_at <= now()
            LIMIT %(count_limit)s::int
        ) AS waiting
    ),
    (
        SELECT count(*) FROM runs r
        WHERE r.tenant_id = %(tenant_id)s AND r.lane = page.name AND r.node_id IS NOT NULL AND r.set_aside
    )
FROM page LEFT JOIN targets t ON t.tenant_id = %(tenant_id)s AND t.name = page.name
ORDER BY page.name;

-- name: put_limits
-- Returns whether the target is new to us; nothing where people have said something of as many others as they may.
INSERT INTO targets AS t (tenant_id, name, max_concurrency, rate_per_second, burst, breaker)
SELECT %(tenant_id)s::uuid, %(name)s::text, %(max_concurrency)s::int, %(rate_per_second)s::float8, %(burst)s::int,
    %(breaker)s::text
WHERE {{has_room}}
ON CONFLICT (tenant_id, name) DO UPDATE SET
    max_concurrency = excluded.max_concurrency, rate_per_second = excluded.rate_per_second, burst = excluded.burst,
    breaker = excluded.breaker, updated_at = now(),
    -- The next slot of a slow rate may be far: another rate begins at once.
    next_slot_at = CASE WHEN t.rate_per_second = excluded.rate_per_second THEN t.next_slot_at END
RETURNING xmax = 0;

-- name: take_limits
-- What the engine has found out, and a pause, stay; where there is neither, the row makes room at once. Returns whether
-- there were any.
WITH gone AS (
    DELETE FROM targets
    WHERE tenant_id = %(tenant_id)s AND name = %(name)s AND num_nonnulls(max_concurrency, rate_per_second, breaker) > 0
      AND num_nonnulls(paused_at, opened_at, slowed_at) = 0
    RETURNING name
),
kept AS (
    UPDATE targets SET max_concurrency = NULL, rate_per_second = NULL, burst = NULL, breaker = NULL, updated_at = now(),
        next_slot_at = NULL
    WHERE tenant_id = %(tenant_id)s AND name = %(name)s AND num_nonnulls(max_concurrency, rate_per_second, breaker) > 0
      AND num_nonnulls(paused_at, opened_at, slowed_at) > 0
    RETURNING name
)
SELECT FROM gone UNION ALL SELECT FROM kept;

-- name: pause_target
-- Not where people have said something of as many others as they may.
INSERT INTO targets AS t (tenant_id, name, paused_at, pause_reason)
SELECT %(tenant_id)s::uuid, %(name)s::text, now(), %(reason)s::text WHERE {{has_room}}
ON CONFLICT (tenant_id, name) DO UPDATE SET
    paused_at = coalesce(t.paused_at, now()), pause_reason = excluded.pause_reason, updated_at = now();

-- name: resume_target
-- Somebody says that it is well: what the breaker held against it is forgotten, too.
UPDATE targets SET
    paused_at = NULL, pause_reason = NULL, opened_at = NULL, open_until = NULL, openings = 0, probes = 0, probed_at = NULL,
    open_reason = NULL, slowed_rate = NULL, slowed_from = NULL, slowed_at = NULL, updated_at = now()
WHERE tenant_id = %(tenant_id)s AND name = %(name)s;

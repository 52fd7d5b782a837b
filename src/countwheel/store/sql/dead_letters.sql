-- name: list_live
-- A page of the runs of all jobs of a tenant that are live and that nobody holds, latest due first, of the next `rows` that are
-- looked at. Every row tells the last one of these (NULL: there are no more); where no run fits, there is one row without a run.
WITH looked_at AS MATERIALIZED (
    SELECT r.due_at AS last_moment, r.run_id AS last_id FROM runs r WHERE {{live_place}}
    ORDER BY r.due_at DESC, r.run_id DESC OFFSET %(rows)s::int - 1 LIMIT 1
)
SELECT page.*, looked_at.last_moment, looked_at.last_id
FROM (SELECT) AS always LEFT JOIN looked_at ON true LEFT JOIN LATERAL (
    SELECT {{live_columns}}, r.due_at AS moment FROM runs r
    WHERE {{live_filter}} AND {{live_place}} AND (r.due_at, r.run_id) >= (
        coalesce(looked_at.last_moment, '-infinity'), coalesce(looked_at.last_id, '00000000-0000-0000-0000-000000000000')
    )
    ORDER BY r.due_at DESC, r.run_id DESC LIMIT %(limit)s
) AS page ON true
ORDER BY page.moment DESC, page.run_id DESC;

-- name: list_held
-- Those that nodes, and targets, hold: little, and in no such order.
SELECT {{live_columns}}, r.due_at AS moment FROM runs r
WHERE {{live_filter}} AND r.node_id IS NOT NULL AND (r.due_at, r.run_id) < (%(before)s, %(before_id)s::uuid)
ORDER BY r.due_at DESC, r.run_id DESC LIMIT %(limit)s;

-- name: list_ended
-- A page of those that ended in other ways than SUCCEEDED, within a span of time, latest end first: each status by its index.
SELECT page.* FROM unnest(%(statuses)s::text[]) AS asked (status)
CROSS JOIN LATERAL (
    SELECT {{ended_columns}}, h.finished_at AS moment FROM run_history h
    WHERE h.status = asked.status AND h.status <> 'SUCCEEDED' AND {{ended_narrowed}}
    ORDER BY h.finished_at DESC, h.run_id DESC LIMIT %(limit)s
) AS page
ORDER BY page.moment DESC, page.run_id DESC LIMIT %(limit)s;

-- name: list_ended_within
-- The same, whatever the status: no index has the runs that succeeded. Where a span lies, the ledger's order and a block
-- range index tell.
SELECT {{ended_columns}}, h.finished_at AS moment FROM run_history h
WHERE h.status = ANY(%(statuses)s::text[]) AND {{ended_narrowed}}
ORDER BY h.finished_at DESC, h.run_id DESC LIMIT %(limit)s;

-- name: count_dead_letters
-- How many runs a redrive by filter would find.
SELECT count(*) FROM unnest(%(statuses)s::text[]) AS asked (status)
CROSS JOIN LATERAL (
    SELECT FROM run_history h JOIN jobs j ON j.job_id = h.job_id WHERE {{dead_letter}}
) AS found;

-- name: find_dead_letters
-- A bite of them, first end first, so that what fails again is behind the horizon and not met again.
SELECT found.* FROM unnest(%(statuses)s::text[]) AS asked (status)
CROSS JOIN LATERAL (
    SELECT h.job_id, h.run_id, h.finished_at FROM run_history h JOIN jobs j ON j.job_id = h.job_id
    WHERE {{dead_letter}}
        AND h.finished_at >= %(after)s AND (h.finished_at, h.run_id) > (%(after)s, %(after_id)s::uuid)
    ORDER BY h.finished_at, h.run_id LIMIT %(limit)s
) AS found
ORDER BY found.finished_at, found.run_id LIMIT %(limit)s;

-- name: group_failures
-- The failures of a span of time by what they look like, most of them first. The latest {{most}} are read, so that an outage of a
-- day costs no more than that; the narrow rows are gathered first, and one error of each group is read at the end. They are hashed
-- into groups, and only within each is anything sorted: all of them sorted by fingerprint take half as long again.
WITH seen AS MATERIALIZED (
    SELECT h.fingerprint, h.job_id, h.run_id, h.finished_at, h.target, h.error_class, h.resolution
    FROM run_history h
    WHERE h.tenant_id = %(tenant_id)s AND h.fingerprint IS NOT NULL AND h.deleted_at IS NULL
        AND h.finished_at >= %(start)s AND h.finished_at < %(end)s
        AND (%(job_id)s::uuid IS NULL OR h.job_id = %(job_id)s::uuid)
        AND (%(target)s::text IS NULL OR h.target = %(target)s::text)
    ORDER BY h.finished_at DESC LIMIT {{most}}
),
grouped AS (
    SELECT fingerprint, min(target) AS target, min(error_class) AS error_class, count(*) AS count,
        min(finished_at) AS first_at, max(finished_at) AS last_at,
        count(*) FILTER (WHERE resolution = 'RETRIED') AS redriven,
        count(*) FILTER (WHERE resolution IN ('SUCCEEDED', 'FAILED')) AS resolved,
        array_agg(job_id) AS job_ids, array_agg(run_id) AS run_ids, array_agg(finished_at) AS ends
    FROM seen GROUP BY fingerprint
)
SELECT g.fingerprint, g.target, g.error_class,
    (
        SELECT h.error FROM run_history h
        WHERE h.tenant_id = %(tenant_id)s AND h.fingerprint = g.fingerprint AND h.deleted_at IS NULL
            AND h.finished_at = g.last_at
        LIMIT 1
    ) AS error,
    g.count, g.first_at, g.last_at,
    (SELECT count(DISTINCT job_id) FROM unnest(g.job_ids) AS job_id) AS jobs,
    g.redriven, g.resolved,
    ARRAY(
        SELECT job_id || '/' || run_id FROM unnest(g.job_ids, g.run_ids, g.ends) AS s (job_id, run_id, ended_at)
        ORDER BY ended_at DESC LIMIT 3
    ) AS samples,
    count(*) OVER () AS groups, sum(g.count) OVER ()::bigint AS failures, min(g.first_at) OVER () AS since
FROM grouped g
ORDER BY g.count DESC, g.last_at DESC, g.fingerprint
LIMIT %(limit)s;

-- name: notice_facts
-- What a notification tells, of runs that have just ended in this transaction: the run as it is shown, and its job.
SELECT {{ended_columns}}, h.tenant_id, j.name, j.labels
FROM unnest(%(job_ids)s::uuid[], %(run_ids)s::uuid[], %(fences)s::int4[], %(finished_ats)s::timestamptz[])
    AS told (job_id, run_id, fence, finished_at)
JOIN run_history h ON h.job_id = told.job_id AND h.run_id = told.run_id AND h.fence = told.fence
    AND h.finished_at = told.finished_at
JOIN jobs j ON j.job_id = h.job_id;

-- name: read_notification_defaults
SELECT on_failure, on_success, updated_at FROM notification_defaults WHERE tenant_id = %(tenant_id)s;

-- name: put_notification_defaults
INSERT INTO notification_defaults (tenant_id, on_failure, on_success)
VALUES (%(tenant_id)s, %(on_failure)s, %(on_success)s)
ON CONFLICT (tenant_id) DO UPDATE SET
    on_failure = excluded.on_failure, on_success = excluded.on_success, updated_at = now()
RETURNING on_failure, on_success, updated_at;

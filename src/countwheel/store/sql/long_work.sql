-- name: accept
-- Targets have taken these runs over and will say later how they went. Fenced, and the holder asked for, as in `retry`:
-- the fence does not rise here. A run that somebody has asked to end meanwhile is looked after at once.
WITH taken AS MATERIALIZED (
    SELECT * FROM unnest(
        %(job_ids)s::uuid[], %(run_ids)s::uuid[], %(fences)s::int4[], %(started_ats)s::timestamptz[],
        %(deadlines)s::float8[], %(heartbeats)s::float8[]
    ) AS t (job_id, run_id, fence, started_at, deadline_seconds, heartbeat_seconds)
)
UPDATE runs r SET
    state = 'RUNNING', node_id = 'target', sent_by = r.node_id, started_at = coalesce(r.started_at, t.started_at),
    accepted_at = now(), deadline_at = now() + make_interval(secs => t.deadline_seconds),
    heartbeat_seconds = t.heartbeat_seconds,
    overdue_at = now() + CASE WHEN r.cancel_requested_at IS NULL
        THEN make_interval(secs => least(t.deadline_seconds, t.heartbeat_seconds)) ELSE interval '0' END
FROM taken t
WHERE r.job_id = t.job_id AND r.run_id = t.run_id AND r.fence = t.fence AND coalesce(r.node_id, '') = %(node_id)s
RETURNING r.run_id;

-- name: lock_for_completion
-- A live run of which somebody says how it went, with what its job says of its attempts. No errand: of those there is no word.
SELECT {{long_columns}} FROM runs r JOIN jobs j ON j.job_id = r.job_id
    LEFT JOIN notification_defaults d ON d.tenant_id = j.tenant_id
WHERE r.tenant_id = %(tenant_id)s AND r.job_id = %(job_id)s AND r.run_id = %(run_id)s AND r.call_url IS NULL
FOR UPDATE OF r;

-- name: lock_overdue
-- Accepted runs of which nothing was heard in time, longest silent first. Peers take other rows instead of waiting.
SELECT {{long_columns}} FROM runs r JOIN jobs j ON j.job_id = r.job_id
    LEFT JOIN notification_defaults d ON d.tenant_id = j.tenant_id
WHERE r.overdue_at <= now()
ORDER BY r.overdue_at
LIMIT {{size}}
FOR UPDATE OF r SKIP LOCKED;

-- name: try_again
-- Due again, whoever has it: its target has said that it failed, or has said nothing. The fence rises, so that a node
-- which still waits for the call's answer records nothing. The caller has locked the run.
WITH again AS MATERIALIZED (
    SELECT * FROM unnest(
        %(job_ids)s::uuid[], %(run_ids)s::uuid[], %(fences)s::int4[], %(due_ats)s::timestamptz[],
        %(started_ats)s::timestamptz[], %(http_statuses)s::int2[], %(node_ids)s::text[], %(errors)s::text[],
        %(error_classes)s::text[]
    ) AS a (job_id, run_id, fence, due_at, started_at, http_status, node_id, error, error_class)
),
returned AS (
    UPDATE runs r SET
        state = 'RETRYING', node_id = NULL, fence = r.fence + 1, error = a.error,
        due_at = greatest(a.due_at, r.scheduled_for), accepted_at = NULL, deadline_at = NULL, heartbeat_seconds = NULL,
        heartbeat_at = NULL, progress = NULL, overdue_at = NULL, sent_by = NULL
    FROM again a
    WHERE r.job_id = a.job_id AND r.run_id = a.run_id AND r.fence = a.fence
    RETURNING r.job_id, r.run_id, r.tenant_id, r.attempt, a.fence, a.node_id, a.started_at, a.http_status, a.error, a.error_class
)
INSERT INTO attempts (
    job_id, run_id, tenant_id, attempt, fence, node_id, started_at, finished_at, http_status, error, error_class
)
SELECT job_id, run_id, tenant_id, attempt, fence, node_id, started_at, now(), http_status, error, error_class
FROM returned;

-- name: heartbeat
-- The target is at work. What somebody has asked to end stays due, and goes on no longer.
UPDATE runs SET
    heartbeat_at = now(), progress = coalesce(%(progress)s, progress),
    overdue_at = least(deadline_at, now() + make_interval(secs => heartbeat_seconds))
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s AND run_id = %(run_id)s
  AND accepted_at IS NOT NULL AND cancel_requested_at IS NULL
  AND (%(fence)s::int4 IS NULL OR fence = %(fence)s::int4)
RETURNING deadline_at, overdue_at;

-- name: find_standing
-- How a run stands, live or ended, for whoever works on it.
SELECT state AS status, fence, cancel_requested_at IS NOT NULL AS is_over, true AS is_live, NULL AS finished_at FROM runs
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s AND run_id = %(run_id)s
UNION ALL
SELECT status, fence, true, false, finished_at FROM run_history
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s AND run_id = %(run_id)s
ORDER BY is_live DESC, fence DESC, finished_at DESC
LIMIT 1;

-- name: find_end
-- How a run ended, and in whose words. Of several ends the last one counts; one that was redriven and ended before it was
-- claimed again has the fence of the end before.
SELECT status, completion, resolution FROM run_history
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s AND run_id = %(run_id)s
ORDER BY fence DESC, finished_at DESC LIMIT 1;

-- name: find_first_start
-- When a run that was redriven was sent first.
SELECT min(started_at) FROM run_history
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s AND run_id = %(run_id)s;

-- name: find_later_attempt
SELECT FROM attempts
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s AND run_id = %(run_id)s AND fence > %(fence)s LIMIT 1;

-- name: find_attempt_error
-- What came of one attempt of a run, where it did not simply succeed.
SELECT error FROM attempts
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s AND run_id = %(run_id)s AND fence = %(fence)s;

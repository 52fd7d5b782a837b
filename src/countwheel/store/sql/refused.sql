-- name: suspects
-- What a claim may have been refused for: what `claim` would take.
SELECT due.job_id, due.run_id
FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7)) AS part (bucket)
CROSS JOIN LATERAL (
    SELECT r.job_id, r.run_id FROM runs r
    WHERE r.bucket = part.bucket AND r.node_id IS NULL AND NOT r.set_aside
      AND r.due_at >= %(since)s AND r.due_at <= now() + make_interval(secs => %(look_ahead_seconds)s)
      AND (%(tenant_ids)s::uuid[] IS NULL OR r.tenant_id = ANY(%(tenant_ids)s::uuid[]))
    ORDER BY r.due_at
    LIMIT 64
) AS due;

-- name: suspects_in_lane
-- The same of a lane: what `claim_from_lane` would take.
SELECT r.job_id, r.run_id FROM runs r
WHERE r.tenant_id = %(tenant_id)s AND r.lane = %(lane)s AND r.node_id IS NULL AND r.set_aside
  AND r.due_at <= now() + make_interval(secs => %(look_ahead_seconds)s)
ORDER BY r.due_at
LIMIT 512;

-- name: claim_these
-- Take some runs by name.
WITH picked AS MATERIALIZED (
    SELECT r.job_id, r.ctid AS place
    FROM unnest(%(job_ids)s::uuid[], %(run_ids)s::uuid[]) AS asked (job_id, run_id)
    JOIN runs r ON r.job_id = asked.job_id AND r.run_id = asked.run_id
    WHERE r.node_id IS NULL
    FOR UPDATE OF r SKIP LOCKED
)
{{take_picked}};

-- name: put_off
-- Let a run that cannot be claimed be due later: for as long again as it is late.
UPDATE runs SET
    error = %(reason)s,
    due_at = now() + least(greatest(now() - scheduled_for, interval '1 minute'), interval '1 hour')
WHERE job_id = %(job_id)s AND run_id = %(run_id)s AND node_id IS NULL
RETURNING due_at;

-- name: audit_job_ids
-- A page of jobs that can have an occurrence in the scope: created before its end, not ended before its start.
SELECT job_id FROM jobs
WHERE (%(tenant_id)s::uuid IS NULL OR tenant_id = %(tenant_id)s::uuid)
  AND (%(job_id)s::uuid IS NULL OR job_id = %(job_id)s::uuid)
  AND (%(after)s::uuid IS NULL OR job_id > %(after)s::uuid)
  AND created_at < %(end)s AND (ended_at IS NULL OR ended_at >= %(start)s)
ORDER BY job_id LIMIT %(limit)s::int;

-- name: audit_count
SELECT count(*) FROM jobs
WHERE (%(tenant_id)s::uuid IS NULL OR tenant_id = %(tenant_id)s::uuid)
  AND (%(job_id)s::uuid IS NULL OR job_id = %(job_id)s::uuid)
  AND created_at < %(end)s AND (ended_at IS NULL OR ended_at >= %(start)s);

-- name: audit_versions
-- Every schedule that these jobs have had, with the time that it was in force, oldest first.
SELECT job_id, version, schedule_recurring, schedule_oneoff, timezone, terms, effective_from, effective_until
FROM job_versions WHERE job_id = ANY(%(job_ids)s)
UNION ALL
SELECT job_id, version, schedule_recurring, schedule_oneoff, timezone, terms, coalesce(effective_from, created_at),
    -- A job that has had all the runs that it may have names nothing after the last of them.
    CASE WHEN runs_begun > 0 AND (terms::jsonb ->> 'max_runs')::int <= runs_begun THEN greatest(
        (SELECT max(r.scheduled_for) FROM runs r WHERE r.job_id = jobs.job_id AND r.trigger = 'schedule'),
        (SELECT max(h.scheduled_for) FROM run_history h WHERE h.job_id = jobs.job_id AND h.trigger = 'schedule')
    ) ELSE deleted_at END
FROM jobs WHERE job_id = ANY(%(job_ids)s)
ORDER BY job_id, version;

-- name: audit_live
-- From when on these jobs have runs that have not ended.
SELECT job_id, min(scheduled_for) FROM runs WHERE job_id = ANY(%(job_ids)s) AND trigger = 'schedule' GROUP BY job_id;

-- name: audit_ledger
-- The ends on record, job by job in the order of time: run ids sort by scheduled_for.
SELECT h.job_id, h.scheduled_for, h.status, h.started_at, h.error, h.occurrences, h.superseded_by, h.lost_attempts,
    coalesce(h.resolution = 'RETRIED', false)
FROM run_history h
WHERE h.job_id = ANY(%(job_ids)s) AND h.run_id >= %(first_id)s AND h.run_id < %(last_id)s
  AND h.trigger = 'schedule' -- nobody expected the others
ORDER BY h.job_id, h.run_id, h.fence;

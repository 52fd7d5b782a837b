-- name: find_run
-- One run of a tenant, live or ended in a span.
SELECT {{live_columns}} FROM runs r
WHERE r.tenant_id = %(tenant_id)s AND r.job_id = %(job_id)s AND r.run_id = %(run_id)s
UNION ALL
SELECT {{ended_columns}} FROM run_history h
WHERE h.tenant_id = %(tenant_id)s AND h.job_id = %(job_id)s AND h.run_id = %(run_id)s
  AND h.finished_at BETWEEN %(since)s AND %(until)s
-- Of a run that was UNKNOWN and sent again there are several rows: the one with the highest fence is how it stands.
ORDER BY fence DESC, finished_at DESC NULLS FIRST
LIMIT 1;

-- name: list_runs
-- A page of a job's runs, latest occurrence first (run ids sort by scheduled_for), of the next `rows` that are looked at. Every
-- row tells the last one of these (NULL: there are no more); where no run fits, there is one row without a run. What is asked
-- stands in bounds and not in NULLs, so that a prepared plan is as good as any: planning over the days costs more than the page.
WITH looked_at AS MATERIALIZED (
    SELECT (
        SELECT run_id FROM (
            (
                SELECT r.run_id FROM runs r
                WHERE r.job_id = %(job_id)s AND r.run_id < %(before)s AND r.run_id >= %(least)s
                ORDER BY r.run_id DESC LIMIT %(rows)s::int
            )
            UNION ALL
            (
                SELECT h.run_id FROM run_history h
                WHERE h.job_id = %(job_id)s AND h.run_id < %(before)s AND h.run_id >= %(least)s
                ORDER BY h.run_id DESC LIMIT %(rows)s::int
            )
        ) AS next ORDER BY run_id DESC OFFSET %(rows)s::int - 1 LIMIT 1
    ) AS last
)
SELECT page.*, looked_at.last FROM looked_at LEFT JOIN LATERAL (
    (
        SELECT {{live_columns}} FROM runs r
        WHERE r.tenant_id = %(tenant_id)s AND r.job_id = %(job_id)s
          AND r.run_id < %(before)s AND r.run_id >= coalesce(looked_at.last, %(least)s)
          AND r.state = ANY(%(statuses)s::text[])
          AND r.scheduled_for >= %(scheduled_after)s AND r.scheduled_for < %(scheduled_before)s
        ORDER BY r.run_id DESC LIMIT %(limit)s::int
    )
    UNION ALL
    (
        SELECT {{ended_columns}} FROM run_history h
        WHERE h.tenant_id = %(tenant_id)s AND h.job_id = %(job_id)s
          AND h.run_id < %(before)s AND h.run_id >= coalesce(looked_at.last, %(least)s)
          AND h.resolution IS DISTINCT FROM 'RETRIED' -- it lives on, or has ended otherwise since
          AND (%(show_deleted)s::boolean OR h.deleted_at IS NULL)
          AND h.status = ANY(%(statuses)s::text[])
          AND h.scheduled_for >= %(scheduled_after)s AND h.scheduled_for < %(scheduled_before)s
        ORDER BY h.run_id DESC LIMIT %(limit)s::int
    )
    ORDER BY run_id DESC LIMIT %(limit)s::int
) AS page ON true
ORDER BY page.run_id DESC;

-- name: find_attempts
-- The attempts of a run, in the order of their fences: those that did not simply succeed have rows of their own, one that did
-- is the ledger's row.
SELECT attempt, fence, started_at, finished_at, node_id, http_status, error, response_head, trace, error_class, response_headers
FROM attempts
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s AND run_id = %(run_id)s
  AND finished_at BETWEEN %(since)s AND %(until)s
UNION ALL
SELECT attempt, fence, CASE WHEN attempt = 1 THEN started_at END, finished_at, node_id, http_status, error, response_head, trace,
    error_class, NULL
FROM run_history
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s AND run_id = %(run_id)s AND status = 'SUCCEEDED'
  AND finished_at BETWEEN %(since)s AND %(until)s
ORDER BY fence;

-- name: find_completion
-- In whose words an end is told.
SELECT completion FROM run_history
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s AND run_id = %(run_id)s
  AND fence = %(fence)s AND finished_at = %(finished_at)s;

-- name: hide_run
-- The soft delete of an ended run: the row stays, default listings leave it out.
UPDATE run_history SET deleted_at = now()
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s AND run_id = %(run_id)s AND deleted_at IS NULL
  AND status <> 'CANCELED';

-- name: account_for_taken_back
-- Occurrences that were due and not called when their job got another schedule: one row, with their count.
INSERT INTO run_history (
    job_id, run_id, tenant_id, trigger, status, scheduled_for, due_at, finished_at, attempt, lost_attempts, fence, error,
    occurrences, superseded_by
)
VALUES (
    %(job_id)s, %(run_id)s, %(tenant_id)s, 'schedule', 'SKIPPED', %(scheduled_for)s, %(scheduled_for)s, now(), 0, 0,
    %(fence)s, %(reason)s, %(occurrences)s, %(superseded_by)s
);

-- name: end_unheld
-- End a live run that no node holds (nobody, or its target), for a cancel; of a chain whose job is deleted it stands for what was due after it,
-- too. The caller has locked it.
WITH gone AS (
    DELETE FROM runs
    WHERE job_id = %(job_id)s AND run_id = %(run_id)s AND (node_id IS NULL OR accepted_at IS NOT NULL)
    RETURNING *
),
completed AS (
    UPDATE jobs SET state = 'COMPLETED', ended_at = now(), updated_at = now()
    FROM gone
    WHERE jobs.job_id = gone.job_id AND jobs.state = 'ACTIVE' AND jobs.schedule_oneoff IS NOT NULL
        AND gone.trigger = 'schedule'
)
INSERT INTO run_history (
    job_id, run_id, tenant_id, trigger, status, scheduled_for, due_at, started_at, finished_at, attempt,
    lost_attempts, fence, error, occurrences, superseded_by, node_id, accepted_at
)
SELECT job_id, run_id, tenant_id, trigger, 'CANCELED', scheduled_for,
    CASE WHEN due_at < {{never}} THEN due_at ELSE scheduled_for END, started_at, now(), attempt,
    lost_attempts, fence, %(reason)s, %(occurrences)s, %(superseded_by)s, sent_by, accepted_at
FROM gone
RETURNING run_id;

-- name: resolve_unknown
UPDATE run_history SET resolution = %(outcome)s, resolved_at = now(), resolved_by = %(by)s, resolution_note = %(note)s
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s AND run_id = %(run_id)s
  AND status = 'UNKNOWN' AND resolution IS NULL;

-- name: redrive
-- Dead letters of a job are live once more, each under its own id: a receiver that had it recognises it. The fence goes on
-- rising; the retry policy counts anew: attempts, nodes that were lost, and the age, which begins with the next attempt. Setting the resolution is the compare-and-set: two redrives at once make one.
WITH asked AS (
    SELECT * FROM unnest(%(run_ids)s::uuid[], %(buckets)s::int2[], %(due_ats)s::timestamptz[])
        AS a (run_id, bucket, due_at)
),
decided AS (
    UPDATE run_history h SET resolution = 'RETRIED', resolved_at = now(), resolved_by = %(by)s
    FROM asked a
    WHERE h.tenant_id = %(tenant_id)s AND h.job_id = %(job_id)s AND h.run_id = a.run_id
      AND h.status = ANY(%(statuses)s::text[]) AND h.resolution IS NULL AND h.attempt < %(attempts_limit)s
      -- An errand of which a release before this one has not kept what it calls cannot be sent again.
      AND (h.trigger IN ('notification', 'cancellation')) = (h.call_url IS NOT NULL)
    RETURNING h.*, a.bucket, greatest(a.due_at, h.scheduled_for, now()) AS due_again_at
),
active AS (
    UPDATE jobs SET state = 'ACTIVE', ended_at = NULL, updated_at = now()
    FROM decided
    WHERE jobs.job_id = decided.job_id AND jobs.state = 'COMPLETED' AND jobs.schedule_oneoff IS NOT NULL
        AND decided.trigger = 'schedule'
)
INSERT INTO runs (
    job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at, attempt, attempts_before, fence, error,
    call_method, call_url, call_body, overlap
)
SELECT d.job_id, d.run_id, d.tenant_id, d.bucket, d.trigger, CASE WHEN d.attempt > 0 THEN 'RETRYING' ELSE 'SCHEDULED' END,
    d.scheduled_for, d.due_again_at, d.attempt, d.attempt, d.fence, d.error, d.call_method, d.call_url, d.call_body,
    -- Somebody wants it, so it is not skipped for an earlier one: where runs of its job do not overlap, it waits.
    CASE WHEN j.terms::jsonb ->> 'overlap' = 'allow' THEN 'allow' ELSE 'queue_all' END
FROM decided d JOIN jobs j ON j.job_id = d.job_id
RETURNING run_id;

-- name: known_of_range
-- What became of the occurrences of a range, by the schedule and by backfills: ended, live, or cancelled before they were.
-- Of all, or of those named.
SELECT scheduled_for, status, finished_at FROM (
    SELECT scheduled_for, coalesce(resolution, status) AS status, finished_at FROM run_history
    WHERE job_id = %(job_id)s AND run_id >= %(first_id)s AND run_id < %(last_id)s AND trigger IN ('schedule', 'backfill')
      AND resolution IS DISTINCT FROM 'RETRIED'
    UNION ALL
    SELECT scheduled_for, state, NULL FROM runs
    WHERE job_id = %(job_id)s AND run_id >= %(first_id)s AND run_id < %(last_id)s AND trigger IN ('schedule', 'backfill')
    UNION ALL
    SELECT scheduled_for, 'CANCELED', cancelled_at FROM cancelled_occurrences
    WHERE job_id = %(job_id)s AND run_id >= %(first_id)s AND run_id < %(last_id)s
) AS known
WHERE %(instants)s::timestamptz[] IS NULL OR scheduled_for = ANY(%(instants)s::timestamptz[]);

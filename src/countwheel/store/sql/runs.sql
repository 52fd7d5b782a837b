-- name: claim
-- Take up to {{size}} due runs a bucket for this node: a lease (the node's), a fence one higher, an attempt counted.
WITH picked AS MATERIALIZED (
    SELECT due.job_id, due.place
    FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7)) AS part (bucket)
    CROSS JOIN LATERAL (
        SELECT r.job_id, r.ctid AS place FROM runs r
        WHERE r.bucket = part.bucket AND r.node_id IS NULL AND NOT r.set_aside
          AND r.due_at >= %(since)s AND r.due_at <= now() + make_interval(secs => %(look_ahead_seconds)s)
        ORDER BY r.due_at
        LIMIT {{size}} -- literal: a generic plan over a parameter turns into a hash join over the whole table
        FOR UPDATE SKIP LOCKED -- peers take other rows instead of waiting for these
    ) AS due
)
{{take_picked}};

-- name: claim_for_tenants
-- Take up to {{size}} due runs of each of some tenants: the way past another tenant's flood.
WITH picked AS MATERIALIZED (
    SELECT due.job_id, due.place
    FROM unnest(%(tenant_ids)s::uuid[]) AS asked (tenant_id)
    CROSS JOIN LATERAL (
        SELECT r.job_id, r.ctid AS place FROM runs r
        WHERE r.tenant_id = asked.tenant_id AND r.node_id IS NULL AND NOT r.set_aside
          AND r.due_at >= %(since)s AND r.due_at <= now() + make_interval(secs => %(look_ahead_seconds)s)
        ORDER BY r.due_at
        LIMIT {{size}}
        FOR UPDATE SKIP LOCKED
    ) AS due
)
{{take_picked}};

-- name: insert_occurrences
-- Arm the next occurrences. The primary key refuses one that is there already.
INSERT INTO runs (job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at)
SELECT o.job_id, o.run_id, o.tenant_id, o.bucket, 'schedule', 'SCHEDULED', o.scheduled_for, o.due_at
FROM unnest(
    %(job_ids)s::uuid[], %(run_ids)s::uuid[], %(tenant_ids)s::uuid[], %(buckets)s::int2[],
    %(scheduled_fors)s::timestamptz[], %(due_ats)s::timestamptz[]
) AS o (job_id, run_id, tenant_id, bucket, scheduled_for, due_at)
ON CONFLICT DO NOTHING;

-- name: finish
-- End a batch of held runs. Each row keeps its own fate: one whose fence has risen since is not touched and not
-- returned. The id is the only indexable condition (a state in it attracts a dead partial index).
WITH ended AS MATERIALIZED (
    SELECT * FROM unnest(
        %(job_ids)s::uuid[], %(run_ids)s::uuid[], %(fences)s::int4[], %(statuses)s::text[],
        %(started_ats)s::timestamptz[], %(finished_ats)s::timestamptz[], %(http_statuses)s::int2[],
        %(errors)s::text[], %(response_heads)s::bytea[], %(occurrences)s::int4[], %(superseded_bys)s::timestamptz[],
        %(lasts)s::boolean[], %(sent)s::boolean[], %(traces)s::text[], %(error_classes)s::text[],
        %(response_headers)s::text[], %(fingerprints)s::text[], %(targets)s::text[], %(completions)s::text[]
    ) AS e (
        job_id, run_id, fence, status, started_at, finished_at, http_status,
        error, response_head, occurrences, superseded_by, last, sent, trace, error_class, response_headers,
        fingerprint, target, completion
    )
    -- True of every held run. The planner takes it for a third of them, and so keeps to the key where it knows nothing
    -- of `runs`: the wider a row may be, the fewer of them it takes the table to have, and the sooner it reads them all.
    WHERE e.fence > 0
),
left_runs AS (
    DELETE FROM runs r USING ended e
    WHERE r.job_id = e.job_id AND r.run_id = e.run_id AND r.fence = e.fence
    RETURNING
        r.job_id, r.run_id, r.tenant_id, r.trigger, r.scheduled_for, r.due_at, r.attempt, r.lost_attempts, r.fence,
        coalesce(r.sent_by, r.node_id) AS node_id, r.accepted_at, coalesce(r.started_at, e.started_at) AS started_at,
        e.started_at AS attempt_started_at, e.completion,
        e.finished_at, e.status, e.http_status, e.error, e.response_head, e.occurrences, e.superseded_by,
        e.last, e.sent, e.trace, e.error_class, e.response_headers, e.fingerprint, e.target,
        -- An errand that failed may be redriven: what it would call is kept with a fingerprint, and with nothing else.
        CASE WHEN e.fingerprint IS NOT NULL THEN r.call_method END AS call_method,
        CASE WHEN e.fingerprint IS NOT NULL THEN r.call_url END AS call_url,
        CASE WHEN e.fingerprint IS NOT NULL THEN r.call_body END AS call_body
),
ledger AS (
    INSERT INTO run_history (
        job_id, run_id, tenant_id, trigger, status, scheduled_for, due_at, started_at, finished_at, attempt,
        lost_attempts, fence, node_id, http_status, error, response_head, occurrences, superseded_by, trace, error_class,
        fingerprint, target, call_method, call_url, call_body, accepted_at, completion
    )
    SELECT
        job_id, run_id, tenant_id, trigger, status, scheduled_for, due_at, started_at, finished_at,
        -- The claim counted an attempt; a run that was ended without a call made one fewer.
        CASE WHEN sent THEN attempt ELSE greatest(attempt - 1, lost_attempts) END,
        lost_attempts, fence, node_id, http_status, error, response_head, occurrences, superseded_by, trace, error_class,
        fingerprint, target, call_method, call_url, call_body, accepted_at, completion
    FROM left_runs
),
tried AS (
    INSERT INTO attempts (
        job_id, run_id, tenant_id, attempt, fence, node_id, started_at, finished_at, http_status, error, response_head,
        trace, error_class, response_headers
    )
    SELECT job_id, run_id, tenant_id, attempt, fence, node_id, attempt_started_at, finished_at, http_status, error,
        response_head, trace, error_class, response_headers
    FROM left_runs WHERE sent AND error IS NOT NULL AND node_id IS NOT NULL -- what nobody held is no attempt
),
completed AS (
    UPDATE jobs SET state = 'COMPLETED', ended_at = now(), updated_at = now()
    FROM left_runs l
    WHERE l.last AND jobs.job_id = l.job_id AND jobs.state = 'ACTIVE'
        -- The last occurrence may end before one that is still being tried: the sweep completes such a job.
        AND (jobs.schedule_oneoff IS NOT NULL
            OR NOT EXISTS (
                SELECT FROM runs r WHERE r.job_id = l.job_id AND r.run_id <> l.run_id AND r.call_url IS NULL
            ))
)
SELECT run_id FROM left_runs;

-- name: retry
-- Give a batch of held runs back, due again later. Fenced like `finish`; the fence does not rise here, so the holder is
-- asked for too, lest a batch that is sent again after an unanswered COMMIT be written twice. (In coalesce, so that no
-- index on node_id is tempted.)
WITH again AS MATERIALIZED (
    SELECT * FROM unnest(
        %(job_ids)s::uuid[], %(run_ids)s::uuid[], %(fences)s::int4[], %(due_ats)s::timestamptz[],
        %(started_ats)s::timestamptz[], %(finished_ats)s::timestamptz[], %(http_statuses)s::int2[],
        %(errors)s::text[], %(response_heads)s::bytea[], %(traces)s::text[], %(error_classes)s::text[],
        %(response_headers)s::text[]
    ) AS a (
        job_id, run_id, fence, due_at, started_at, finished_at, http_status, error, response_head, trace, error_class,
        response_headers
    )
),
returned AS (
    UPDATE runs r SET
        state = 'RETRYING', node_id = NULL, waiting = false, error = a.error, due_at = greatest(a.due_at, r.scheduled_for),
        started_at = coalesce(r.started_at, a.started_at)
    FROM again a
    WHERE r.job_id = a.job_id AND r.run_id = a.run_id AND r.fence = a.fence AND coalesce(r.node_id, '') = %(node_id)s
    RETURNING r.job_id, r.run_id, r.tenant_id, r.attempt, r.fence, a.started_at, a.finished_at, a.http_status,
        a.error, a.response_head, a.trace, a.error_class, a.response_headers
)
, tried AS (
    INSERT INTO attempts (
        job_id, run_id, tenant_id, attempt, fence, node_id, started_at, finished_at, http_status, error, response_head,
        trace, error_class, response_headers
    )
    SELECT job_id, run_id, tenant_id, attempt, fence, %(node_id)s, started_at, finished_at, http_status, error,
        response_head, trace, error_class, response_headers
    FROM returned
)
SELECT run_id FROM returned;

-- name: mark_running
-- Show calls that are still under way. Touches no indexed column: a HOT update.
UPDATE runs r SET state = 'RUNNING', waiting = false, started_at = coalesce(r.started_at, m.started_at)
FROM unnest(%(job_ids)s::uuid[], %(run_ids)s::uuid[], %(fences)s::int4[], %(started_ats)s::timestamptz[])
    AS m (job_id, run_id, fence, started_at)
WHERE r.job_id = m.job_id AND r.run_id = m.run_id AND r.fence = m.fence AND r.state = 'CLAIMED'
    AND r.node_id IS NOT NULL
RETURNING r.run_id;

-- name: release
-- Hand back what was claimed and not sent: the attempt is not counted, the fence stays risen. What a target has taken
-- over meanwhile was sent.
UPDATE runs r SET
    state = CASE WHEN r.attempt > 1 THEN 'RETRYING' ELSE 'SCHEDULED' END, node_id = NULL, attempt = r.attempt - 1
FROM unnest(%(job_ids)s::uuid[], %(run_ids)s::uuid[], %(fences)s::int4[]) AS h (job_id, run_id, fence)
WHERE r.job_id = h.job_id AND r.run_id = h.run_id AND r.fence = h.fence AND r.node_id IS NOT NULL AND r.accepted_at IS NULL
RETURNING r.run_id;

-- name: set_aside
-- Hand back what was claimed and not sent, to wait in a lane: by its target's pace. As with `release`, no attempt is
-- counted. Without a lane it goes back into the common queue.
UPDATE runs r SET
    state = CASE WHEN r.attempt > 1 THEN 'RETRYING' ELSE 'SCHEDULED' END, node_id = NULL, attempt = r.attempt - 1,
    lane = h.lane, set_aside = h.lane IS NOT NULL
FROM unnest(%(job_ids)s::uuid[], %(run_ids)s::uuid[], %(fences)s::int4[], %(lanes)s::text[])
    AS h (job_id, run_id, fence, lane)
WHERE r.job_id = h.job_id AND r.run_id = h.run_id AND r.fence = h.fence AND coalesce(r.node_id, '') = %(node_id)s
RETURNING r.run_id;

-- name: recover
-- Take over what lost nodes hold. The fence rises, so that a late record of theirs is refused; asked again every
-- second for every lost node, because a claim that was in flight may commit after the node was declared lost.
-- A run whose job holds the unknown was written down as RUNNING before its call: that one may have been received and ends
-- UNKNOWN. Any other goes back to be sent.
WITH held AS MATERIALIZED (
    -- An array of nodes, and no order yet: so the index of what is held is the way to them, whatever the planner knows of
    -- `runs`. A join in order was planned, on a server that began empty, as a walk through the whole key every second.
    SELECT r.job_id, r.run_id, r.node_id FROM runs r
    WHERE r.node_id = ANY (ARRAY(
        SELECT n.node_id FROM nodes n WHERE n.lost_at IS NOT NULL OR n.stopped_at IS NOT NULL
    ))
),
lost AS MATERIALIZED (
    SELECT locked.* FROM (SELECT * FROM held ORDER BY job_id, run_id) AS h
    CROSS JOIN LATERAL (
        SELECT r.* FROM runs r
        WHERE r.job_id = h.job_id AND r.run_id = h.run_id AND coalesce(r.node_id, '') = h.node_id
        FOR UPDATE SKIP LOCKED
    ) AS locked
),
judged AS MATERIALIZED (
    SELECT lost.*, lost.state = 'RUNNING' AND j.on_unknown = 'hold' AND lost.call_url IS NULL AS is_unknown,
        'lost: node ' || lost.node_id || ' was lost before it recorded the outcome' AS reason,
        j.target_host, j.calling, d.on_failure AS tenant_on_failure
    FROM lost JOIN jobs j ON j.job_id = lost.job_id LEFT JOIN notification_defaults d ON d.tenant_id = lost.tenant_id
),
freed AS (
    UPDATE runs r SET
        state = 'RETRYING', node_id = NULL, waiting = false, fence = r.fence + 1, lost_attempts = r.lost_attempts + 1,
        error = judged.reason
    FROM judged
    WHERE r.job_id = judged.job_id AND r.run_id = judged.run_id AND NOT judged.is_unknown
    RETURNING r.run_id
),
held_back AS (
    DELETE FROM runs r USING judged
    WHERE r.job_id = judged.job_id AND r.run_id = judged.run_id AND judged.is_unknown
    RETURNING r.run_id
),
ledger AS (
    INSERT INTO run_history (
        job_id, run_id, tenant_id, trigger, status, scheduled_for, due_at, started_at, finished_at, attempt,
        lost_attempts, fence, node_id, error
    )
    SELECT job_id, run_id, tenant_id, trigger, 'UNKNOWN', scheduled_for, due_at, started_at, now(), attempt,
        lost_attempts + 1, fence + 1, node_id, reason
    FROM judged WHERE is_unknown
),
completed AS (
    UPDATE jobs SET state = 'COMPLETED', ended_at = now(), updated_at = now()
    FROM judged
    WHERE judged.is_unknown AND jobs.job_id = judged.job_id AND jobs.state = 'ACTIVE'
        AND judged.trigger = 'schedule'
        AND jobs.schedule_oneoff IS NOT NULL
),
tried AS (
    INSERT INTO attempts (
        job_id, run_id, tenant_id, attempt, fence, node_id, started_at, finished_at, error, error_class
    )
    SELECT job_id, run_id, tenant_id, attempt, fence, node_id,
        -- `runs.started_at` is the first attempt's start: it is this attempt's only where this is the first.
        CASE WHEN attempt = 1 THEN started_at END, now(), reason, 'lost'
    FROM judged
)
SELECT job_id, run_id, node_id, fence + 1, is_unknown, reason, trigger, target_host, calling, tenant_on_failure, now()
FROM judged;

-- name: mark_failures
-- What the failures just written down by `recover` look like: computed, and so after it, in its transaction.
UPDATE run_history h SET fingerprint = f.fingerprint, error_class = f.error_class, target = f.target
FROM unnest(
    %(job_ids)s::uuid[], %(run_ids)s::uuid[], %(fences)s::int4[], %(fingerprints)s::text[], %(error_classes)s::text[],
    %(targets)s::text[], %(finished_ats)s::timestamptz[]
) AS f (job_id, run_id, fence, fingerprint, error_class, target, finished_at)
WHERE h.job_id = f.job_id AND h.run_id = f.run_id AND h.fence = f.fence AND h.finished_at = f.finished_at;

-- name: earlier_runs
-- How many live runs of this job are earlier than this one? A backfill and the schedule do not wait for each other, and
-- only redriven runs for redriven ones that nobody holds.
SELECT count(*) FROM runs
WHERE job_id = %(job_id)s AND run_id < %(run_id)s AND (trigger = 'backfill') = %(of_backfill)s::boolean AND call_url IS NULL
  AND (attempts_before IS NULL OR node_id IS NOT NULL OR %(is_redriven)s::boolean);

-- name: let_wait
-- Hand back a run that is to be sent when the earlier ones of its job have ended. As with `release`, no attempt is counted.
UPDATE runs SET
    state = CASE WHEN attempt > 1 THEN 'RETRYING' ELSE 'SCHEDULED' END, node_id = NULL, attempt = attempt - 1,
    waiting = true, due_at = greatest(scheduled_for, now() + make_interval(secs => %(seconds)s))
WHERE job_id = %(job_id)s AND run_id = %(run_id)s AND fence = %(fence)s AND node_id IS NOT NULL;

-- name: wake
-- The earliest run of each job that waits for others to end (of its backfill, too) is due: one of them has. It looks for itself.
-- Locked in the order in which everybody locks runs.
WITH earliest AS MATERIALIZED (
    SELECT DISTINCT ON (w.job_id, w.trigger = 'backfill') w.job_id, w.run_id FROM runs w
    WHERE w.job_id = ANY(%(job_ids)s) AND w.waiting AND w.node_id IS NULL
    ORDER BY w.job_id, w.trigger = 'backfill', w.run_id
),
locked AS MATERIALIZED (
    SELECT r.job_id, r.run_id FROM runs r JOIN earliest e ON e.job_id = r.job_id AND e.run_id = r.run_id
    WHERE r.waiting AND r.node_id IS NULL
    ORDER BY r.job_id, r.run_id
    FOR UPDATE OF r
)
UPDATE runs r SET due_at = greatest(r.scheduled_for, now())
FROM locked l WHERE r.job_id = l.job_id AND r.run_id = l.run_id;

-- name: cancel_requests
-- What this node has been asked to stop, and why.
SELECT run_id, cancel_reason FROM runs WHERE node_id = %(node_id)s AND cancel_requested_at IS NOT NULL;

-- name: next_due
-- When is the next unclaimed run due, of those since a moment, that waits in no lane? Tells the claimer how long it may sleep.
-- And how many seconds that took here, whatever the way to whoever asks is like.
SELECT min(due.due_at), {{took_seconds}}
FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7)) AS part (bucket)
CROSS JOIN LATERAL (
    SELECT r.due_at FROM runs r
    WHERE r.bucket = part.bucket AND r.node_id IS NULL AND NOT r.set_aside AND r.due_at >= %(since)s
    ORDER BY r.due_at LIMIT 1
) AS due;

-- name: lock_live_run
SELECT {{locked_columns}} FROM runs r
WHERE r.tenant_id = %(tenant_id)s AND r.job_id = %(job_id)s AND r.run_id = %(run_id)s
FOR UPDATE;

-- name: lock_live_runs
-- Every live run of a job, locked, but for errands; waits for a claim that is about to arm the next one.
{{live_runs_of_job}}
FOR UPDATE;

-- name: lock_live_runs_at_once
-- The same by whoever has the job's lock: to wait for a run now is the wrong order, so a run that another has is an error.
{{live_runs_of_job}}
FOR UPDATE NOWAIT;

-- name: request_cancel
-- Ask the holder to stop. It answers by ending the run.
UPDATE runs SET cancel_requested_at = coalesce(cancel_requested_at, now()), cancel_reason = coalesce(cancel_reason, %(reason)s)
WHERE job_id = %(job_id)s AND run_id = %(run_id)s AND node_id IS NOT NULL AND accepted_at IS NULL;

-- name: find_cancelled
-- Of each job the next so many cancelled occurrences, from an instant on.
SELECT w.job_id, c.scheduled_for
FROM unnest(%(job_ids)s::uuid[], %(since)s::timestamptz[]) AS w (job_id, since)
CROSS JOIN LATERAL (
    SELECT ahead.scheduled_for FROM cancelled_occurrences ahead
    WHERE ahead.job_id = w.job_id AND ahead.scheduled_for >= w.since
    ORDER BY ahead.scheduled_for LIMIT %(limit)s::int
) AS c
ORDER BY w.job_id, c.scheduled_for;

-- name: remember_cancelled
-- `accounted`: the ledger's row is written by somebody else, who ends the live run.
INSERT INTO cancelled_occurrences (job_id, scheduled_for, run_id, tenant_id, accounted)
VALUES (%(job_id)s, %(scheduled_for)s, %(run_id)s, %(tenant_id)s, %(accounted)s)
ON CONFLICT (job_id, scheduled_for) DO UPDATE SET accounted = true WHERE excluded.accounted;

-- name: prune_cancelled
-- One bite of them, by key.
WITH bite AS MATERIALIZED (
    SELECT ctid AS place, job_id, scheduled_for FROM cancelled_occurrences
    WHERE (job_id, scheduled_for) > (%(after_job)s::uuid, %(after)s::timestamptz)
    ORDER BY job_id, scheduled_for LIMIT %(many)s::int
),
gone AS (
    DELETE FROM cancelled_occurrences WHERE ctid = ANY (ARRAY(
        SELECT place FROM bite WHERE scheduled_for < now() - make_interval(days => %(retention_days)s)
    ))
    RETURNING job_id
)
SELECT (SELECT count(*) FROM gone), last.job_id, last.scheduled_for
FROM (VALUES (1)) AS one_row LEFT JOIN (
    SELECT job_id, scheduled_for FROM bite ORDER BY job_id, scheduled_for OFFSET %(many)s::int - 1 LIMIT 1
) AS last ON true;

-- name: account_for_cancelled
-- The ledger row of an occurrence that was cancelled before its row in `runs` existed: of one run, or of every one that
-- a crash left without. Setting `accounted` is the compare-and-set that makes it one row, whoever comes second.
WITH due AS (
    UPDATE cancelled_occurrences c SET accounted = true
    WHERE NOT c.accounted
      AND (%(run_id)s::uuid IS NULL OR c.run_id = %(run_id)s::uuid)
      AND c.cancelled_at <= now() - make_interval(secs => %(min_age_seconds)s)
      AND NOT EXISTS (SELECT FROM runs r WHERE r.job_id = c.job_id AND r.run_id = c.run_id)
    RETURNING c.job_id, c.run_id, c.tenant_id, c.scheduled_for
)
INSERT INTO run_history (
    job_id, run_id, tenant_id, trigger, status, scheduled_for, due_at, finished_at, attempt, lost_attempts, fence, error
)
SELECT job_id, run_id, tenant_id, 'schedule', 'CANCELED', scheduled_for, scheduled_for, now(), 0, 0, 0,
    'cancelled by request'
FROM due
WHERE NOT EXISTS (SELECT FROM run_history h WHERE h.job_id = due.job_id AND h.run_id = due.run_id)
RETURNING run_id;

-- name: held_by_node
-- What the database says this node holds: compared with what it knows, to find claims whose COMMIT went unanswered.
-- And how many seconds that took here.
SELECT array_agg(job_id), array_agg(run_id), array_agg(fence), {{took_seconds}} FROM runs WHERE node_id = %(node_id)s;

-- name: holders
-- Who holds these runs, and by which fence; runs that have ended are left out.
SELECT r.job_id, r.run_id, r.fence, r.node_id
FROM unnest(%(job_ids)s::uuid[], %(run_ids)s::uuid[], %(fences)s::int4[]) AS h (job_id, run_id, fence)
JOIN runs r ON r.job_id = h.job_id AND r.run_id = h.run_id AND r.fence = h.fence;

-- name: tenants_waiting
-- Which tenants have a run that is due, not before a moment, and that nobody holds? One step of the index a tenant,
-- however many runs each has.
WITH RECURSIVE waiting AS (
    (
        SELECT r.tenant_id, r.due_at FROM runs r
        WHERE r.node_id IS NULL AND NOT r.set_aside AND r.due_at >= %(since)s
        ORDER BY r.tenant_id, r.due_at LIMIT 1
    )
    UNION ALL
    SELECT following.tenant_id, following.due_at
    FROM waiting CROSS JOIN LATERAL (
        SELECT r.tenant_id, r.due_at FROM runs r
        WHERE r.node_id IS NULL AND NOT r.set_aside AND r.due_at >= %(since)s AND r.tenant_id > waiting.tenant_id
        ORDER BY r.tenant_id, r.due_at LIMIT 1
    ) AS following
)
SELECT tenant_id FROM waiting WHERE due_at <= now() + make_interval(secs => %(look_ahead_seconds)s);

-- name: insert_wanted
-- Runs that somebody wants, beside the schedule, and now. The caller has locked the job.
INSERT INTO runs (job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at, overlap, job_version)
SELECT w.job_id, w.run_id, w.tenant_id, w.bucket, w.trigger, 'SCHEDULED', w.scheduled_for,
    greatest(w.scheduled_for, now()), w.overlap, w.job_version
FROM unnest(
    %(job_ids)s::uuid[], %(run_ids)s::uuid[], %(tenant_ids)s::uuid[], %(buckets)s::int2[], %(triggers)s::text[],
    %(scheduled_fors)s::timestamptz[], %(overlaps)s::text[], %(job_versions)s::int4[]
) AS w (job_id, run_id, tenant_id, bucket, trigger, scheduled_for, overlap, job_version);

-- name: insert_errands
-- Runs that make another call than their job's. The primary key refuses one that is there already.
INSERT INTO runs (
    job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at, call_method, call_url, call_body
)
SELECT e.job_id, e.run_id, e.tenant_id, e.bucket, e.trigger, 'SCHEDULED', e.scheduled_for,
    greatest(e.scheduled_for, now()), e.call_method, e.call_url, e.call_body
FROM unnest(
    %(job_ids)s::uuid[], %(run_ids)s::uuid[], %(tenant_ids)s::uuid[], %(buckets)s::int2[], %(triggers)s::text[],
    %(scheduled_fors)s::timestamptz[], %(call_methods)s::text[], %(call_urls)s::text[], %(call_bodies)s::text[]
) AS e (job_id, run_id, tenant_id, bucket, trigger, scheduled_for, call_method, call_url, call_body)
ON CONFLICT DO NOTHING;

-- name: count_begun
-- One more of the runs that `max_runs` allows.
UPDATE jobs SET runs_begun = runs_begun + 1 WHERE job_id = ANY(%(job_ids)s);

-- name: is_live
SELECT FROM runs WHERE job_id = %(job_id)s AND run_id = %(run_id)s;

-- name: create_jobs
-- Create a batch of jobs, each with its first run and (where it has them) its idempotency key and its entry in the audit
-- log, all or nothing a row. An entry has the id of its job.
-- Returns the ids of the jobs that were created; a job that is not returned met a key that was there before.
WITH submitted AS (
    SELECT * FROM unnest(
        %(job_ids)s::uuid[], %(tenant_ids)s::uuid[], %(schedules_recurring)s::text[], %(schedules_oneoff)s::text[],
        %(timezones)s::text[], %(terms)s::text[], %(callings)s::text[], %(job_urls)s::text[], %(target_hosts)s::text[], %(job_payloads)s::text[],
        %(names)s::text[], %(labels)s::text[], %(timeouts_seconds)s::float8[], %(max_attempts)s::int2[],
        %(created_ats)s::timestamptz[], %(run_ids)s::uuid[], %(buckets)s::int2[], %(scheduled_fors)s::timestamptz[],
        %(due_ats)s::timestamptz[], %(deliveries)s::text[], %(on_unknowns)s::text[],
        %(keys)s::text[], %(fingerprints)s::bytea[], %(answers)s::text[]
    ) AS s (
        job_id, tenant_id, schedule_recurring, schedule_oneoff, timezone, terms, calling, job_url, target_host, job_payload,
        name, labels, timeout_seconds, max_attempts, created_at, run_id, bucket, scheduled_for, due_at,
        delivery, on_unknown, key, fingerprint, answer
    )
),
-- The unique key decides who is first, across batches and nodes. Sorted, so that two batches never wait in a circle.
fresh_keys AS (
    INSERT INTO idempotency_keys (tenant_id, operation, key, fingerprint, job_id, answer)
    SELECT tenant_id, 'createJob', key, fingerprint, job_id, answer
    FROM submitted WHERE key IS NOT NULL ORDER BY tenant_id, key
    ON CONFLICT DO NOTHING
    RETURNING job_id
),
accepted AS (
    SELECT * FROM submitted WHERE key IS NULL OR job_id IN (SELECT job_id FROM fresh_keys)
),
new_jobs AS (
    INSERT INTO jobs (
        job_id, tenant_id, state, schedule_recurring, schedule_oneoff, timezone, terms, calling, job_url, target_host, job_payload,
        name, labels, timeout_seconds, max_attempts, created_at, updated_at, delivery, on_unknown
    )
    SELECT
        job_id, tenant_id, 'ACTIVE', schedule_recurring, schedule_oneoff, timezone, terms, calling, job_url, target_host, job_payload,
        name, labels::jsonb, timeout_seconds, max_attempts, created_at, created_at, delivery, on_unknown
    FROM accepted
),
first_runs AS (
    INSERT INTO runs (job_id, run_id, tenant_id, bucket, trigger, state, scheduled_for, due_at)
    SELECT job_id, run_id, tenant_id, bucket, 'schedule', 'SCHEDULED', scheduled_for, due_at
    FROM accepted
),
entries AS (
    INSERT INTO audit_log (
        entry_id, tenant_id, principal, key_id, source_ip, action, resource, status, request_id, before, after
    )
    SELECT e.entry_id, e.tenant_id, e.principal, e.key_id, e.source_ip::inet, e.action, e.resource, e.status, e.request_id, e.before, e.after
    FROM unnest(
        %(entry_ids)s::uuid[], %(entry_tenant_ids)s::uuid[], %(principals)s::text[], %(key_ids)s::text[], %(source_ips)s::text[],
        %(actions)s::text[], %(resources)s::text[], %(statuses)s::int2[], %(request_ids)s::uuid[], %(befores)s::text[],
        %(afters)s::text[]
    ) AS e (
        entry_id, tenant_id, principal, key_id, source_ip, action, resource, status, request_id, before, after
    )
    JOIN accepted a ON a.job_id = e.entry_id
)
SELECT job_id FROM accepted;

-- name: find_job
SELECT {{job_columns}}
FROM jobs j LEFT JOIN LATERAL ({{next_run}}) AS n ON true
WHERE j.tenant_id = %(tenant_id)s AND j.job_id = %(job_id)s;

-- name: list_jobs
-- A page of a tenant's jobs, newest first (job ids sort by creation time), of the next `rows` that are looked at. Every row
-- tells the last one of these (NULL: there are no more); where no job fits, there is one row without a job.
WITH looked_at AS MATERIALIZED (
    SELECT (
        SELECT j.job_id FROM jobs j WHERE {{job_place}} ORDER BY j.job_id DESC OFFSET %(rows)s::int - 1 LIMIT 1
    ) AS last
)
SELECT page.*, looked_at.last FROM looked_at LEFT JOIN LATERAL (
    SELECT {{job_columns}}
    FROM jobs j LEFT JOIN LATERAL ({{next_run}}) AS n ON true
    WHERE {{job_filter}} AND {{job_place}} AND j.job_id >= coalesce(looked_at.last, '00000000-0000-0000-0000-000000000000')
    ORDER BY j.job_id DESC LIMIT %(limit)s::int
) AS page ON true
ORDER BY page.job_id DESC;

-- name: count_matching
-- How many jobs an operation on many would change.
SELECT count(*) FROM jobs j WHERE {{job_filter}} AND j.state = ANY(%(states)s::text[]);

-- name: find_matching
-- A bite of them, by id.
SELECT j.job_id FROM jobs j
WHERE {{job_filter}} AND j.state = ANY(%(states)s::text[])
  AND (%(after)s::uuid IS NULL OR j.job_id > %(after)s::uuid)
ORDER BY j.job_id
LIMIT %(limit)s::int;

-- name: list_versions
-- What a job is, and what it was: latest first.
SELECT * FROM (
    SELECT version, state, coalesce(effective_from, created_at) AS effective_from,
        coalesce(deleted_at, NULL) AS effective_until, NULL::text AS definition, pause_reason,
        schedule_recurring, schedule_oneoff, timezone, terms
    FROM jobs WHERE job_id = %(job_id)s AND tenant_id = %(tenant_id)s
    UNION ALL
    SELECT version, state, effective_from, effective_until, definition, pause_reason,
        schedule_recurring, schedule_oneoff, timezone, terms
    FROM job_versions WHERE job_id = %(job_id)s AND tenant_id = %(tenant_id)s
) AS v
WHERE %(before)s::int IS NULL OR version < %(before)s::int
ORDER BY version DESC
LIMIT %(limit)s::int;

-- name: lock_job
-- For a change, after the job's live runs: whoever ends a run locks in that order, too. `now` is the moment of the change.
SELECT j.job_id, j.version, j.state, j.schedule_recurring, j.schedule_oneoff, j.timezone, j.terms, j.calling, j.job_url, j.job_payload,
    j.name, j.labels, j.timeout_seconds, j.max_attempts, j.delivery, j.on_unknown, j.runs_begun, j.created_at,
    clock_timestamp()
FROM jobs j WHERE j.tenant_id = %(tenant_id)s AND j.job_id = %(job_id)s
FOR UPDATE;

-- name: keep_version
-- What the job was until now, for whoever asks later which schedule was in force.
INSERT INTO job_versions (
    job_id, version, tenant_id, state, schedule_recurring, schedule_oneoff, timezone, terms, effective_from, effective_until,
    definition, pause_reason
)
SELECT job_id, version, tenant_id, state, schedule_recurring, schedule_oneoff, timezone, terms,
    coalesce(effective_from, created_at), %(changed_at)s, %(definition)s, pause_reason
FROM jobs WHERE job_id = %(job_id)s;

-- name: amend_job
UPDATE jobs SET
    schedule_recurring = %(schedule_recurring)s, schedule_oneoff = %(schedule_oneoff)s, timezone = %(timezone)s,
    terms = %(terms)s, calling = %(calling)s, job_url = %(job_url)s, target_host = %(target_host)s, job_payload = %(job_payload)s, name = %(name)s,
    labels = %(labels)s::jsonb, timeout_seconds = %(timeout_seconds)s, max_attempts = %(max_attempts)s,
    delivery = %(delivery)s, on_unknown = %(on_unknown)s,
    version = version + 1, effective_from = %(changed_at)s, updated_at = %(changed_at)s
WHERE job_id = %(job_id)s;

-- name: set_job_state
UPDATE jobs SET
    state = %(state)s, version = version + 1, effective_from = %(changed_at)s, updated_at = %(changed_at)s,
    pause_reason = %(reason)s, paused_at = CASE WHEN %(state)s = 'PAUSED' THEN %(changed_at)s::timestamptz END,
    ended_at = CASE WHEN %(state)s = 'COMPLETED' THEN %(changed_at)s::timestamptz END
WHERE job_id = %(job_id)s;

-- name: touch_runs
-- Every live run of a changed job learns of it: a claim that read the job before the change sees that it did. Not its
-- errands: they have nothing of their job's, and whoever changes it has not locked them.
UPDATE runs r SET job_version = j.version FROM jobs j
WHERE r.job_id = %(job_id)s AND r.call_url IS NULL AND j.job_id = r.job_id;

-- name: unarm
-- Occurrences of the old schedule that nobody holds and that have not begun.
DELETE FROM runs WHERE job_id = %(job_id)s AND node_id IS NULL AND state = 'SCHEDULED' AND trigger = 'schedule'
RETURNING run_id, scheduled_for, fence;

-- name: shelve
-- The next occurrence of a paused job is due when the job is resumed, and so is what waits in a lane and was never sent.
UPDATE runs r SET due_at = {{never}} FROM jobs j
WHERE r.job_id = ANY(%(job_ids)s) AND r.node_id IS NULL AND r.state = 'SCHEDULED' AND r.trigger = 'schedule' AND (r.fence = 0 OR r.set_aside)
  AND j.job_id = r.job_id AND j.state = 'PAUSED';

-- name: find_shelved
SELECT run_id, scheduled_for FROM runs WHERE job_id = %(job_id)s AND due_at = {{never}} AND node_id IS NULL;

-- name: unshelve
UPDATE runs SET due_at = %(due_at)s WHERE job_id = %(job_id)s AND run_id = %(run_id)s AND node_id IS NULL;

-- name: has_begun_run
SELECT FROM runs
WHERE job_id = %(job_id)s AND trigger = 'schedule' AND (node_id IS NOT NULL OR state <> 'SCHEDULED') LIMIT 1;

-- name: last_taken_up
-- The latest occurrence that is live or was decided by a claim: a new schedule begins after it.
SELECT greatest(
    (SELECT max(r.scheduled_for) FROM runs r WHERE r.job_id = %(job_id)s AND r.trigger = 'schedule'),
    (
        SELECT max(h.scheduled_for) FROM run_history h
        WHERE h.job_id = %(job_id)s AND h.trigger = 'schedule' AND h.fence > 0 AND h.scheduled_for > %(now)s
    )
);

-- name: job_definitions
-- What claimed runs must know of their jobs, read again: see `claim`.
SELECT j.job_id, j.job_url, j.job_payload, j.timeout_seconds, j.max_attempts, j.schedule_recurring, j.timezone, j.terms, j.calling, j.state,
    j.delivery, j.on_unknown, j.runs_begun
FROM jobs j WHERE j.job_id = ANY(%(job_ids)s);

-- name: mark_job_deleted
-- The first of two steps: from this commit on no claim starts a run of the job. Its live runs are ended after it.
UPDATE jobs SET state = 'DELETED', deleted_at = now(), ended_at = coalesce(ended_at, now()), updated_at = now()
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s AND state <> 'DELETED';

-- name: find_schedule
SELECT job_id, state, schedule_recurring, timezone, terms FROM jobs
WHERE tenant_id = %(tenant_id)s AND job_id = %(job_id)s;

-- name: find_unarmed_jobs
-- Of one bite of the recurring jobs, by id: those that have not ended and have no live run, a broken chain, which must
-- never be. And where the next bite begins: nowhere, if this was the last.
WITH bite AS MATERIALIZED (
    SELECT job_id, state FROM jobs
    WHERE schedule_recurring IS NOT NULL AND job_id > %(after)s
    ORDER BY job_id LIMIT %(many)s
)
SELECT array_agg(b.job_id) FILTER (WHERE b.state IN ('ACTIVE', 'PAUSED') AND r.job_id IS NULL),
    CASE WHEN count(*) = %(many)s THEN max(b.job_id::text)::uuid END, {{took_seconds}}
FROM bite b
LEFT JOIN LATERAL (SELECT job_id FROM runs WHERE runs.job_id = b.job_id AND trigger = 'schedule' LIMIT 1) r ON true;

-- name: lock_unarmed_jobs
-- Those of them that are unarmed still. Locked, so that two sweeps take turns.
SELECT j.job_id, j.tenant_id, j.schedule_recurring, j.timezone, j.terms, j.runs_begun, j.created_at
FROM jobs j
WHERE j.job_id = ANY(%(job_ids)s) AND j.state IN ('ACTIVE', 'PAUSED')
  AND NOT EXISTS (SELECT FROM runs r WHERE r.job_id = j.job_id AND r.trigger = 'schedule')
FOR UPDATE OF j SKIP LOCKED;

-- name: complete_jobs
UPDATE jobs SET state = 'COMPLETED', ended_at = now(), updated_at = now()
WHERE job_id = ANY(%(job_ids)s) AND state = 'ACTIVE';

-- name: last_occurrences
-- Where the chain of each job broke. Asked after the jobs are locked, in a snapshot of its own, so that what a peer
-- re-armed in between is seen. A dropped range is followed by the occurrence that superseded it.
SELECT j.job_id, (
    SELECT max(coalesce(h.superseded_by - interval '1 ms', h.scheduled_for))
    FROM run_history h WHERE h.job_id = j.job_id AND h.trigger = 'schedule' AND h.fence > 0
) AS last
FROM unnest(%(job_ids)s::uuid[]) AS j (job_id)
WHERE NOT EXISTS (SELECT FROM runs r WHERE r.job_id = j.job_id AND r.trigger = 'schedule');

-- name: prune_jobs
-- One bite of the jobs between two ids: gone are those that ended before the retention. No index on ended_at burdens each
-- completion; ids mostly tell how old a job is. Seven days at the least, so that nobody needs their idempotency keys any more.
-- Runs are asked for job by job, and rows are named one by one: a join may choose to read the other table whole.
WITH bite AS MATERIALIZED (
    SELECT job_id, ended_at FROM jobs
    WHERE job_id > %(after)s AND job_id <= %(until)s
    ORDER BY job_id LIMIT %(many)s::int
),
gone AS (
    DELETE FROM jobs WHERE job_id = ANY (ARRAY(
        SELECT b.job_id FROM bite b
        WHERE b.ended_at < now() - make_interval(days => greatest(%(retention_days)s::int, 7))
          AND (SELECT true FROM runs r WHERE r.job_id = b.job_id LIMIT 1) IS NULL
    ))
    RETURNING job_id
),
versions AS (
    DELETE FROM job_versions WHERE job_id = ANY (ARRAY(SELECT job_id FROM gone))
),
cancelled AS (
    -- Those that are past go by themselves; these may be of any time to come.
    DELETE FROM cancelled_occurrences WHERE job_id = ANY (ARRAY(SELECT job_id FROM gone))
)
SELECT (SELECT count(*) FROM gone), CASE WHEN count(*) = %(many)s::int THEN max(job_id::text)::uuid END FROM bite;

-- name: prune_versions
-- One bite of what jobs were: gone is what no row of the ledger can be of. A day of it is dropped as a whole, so that it
-- has rows for up to a day longer than the retention. What a job is stands in `jobs`, and stays.
WITH bite AS MATERIALIZED (
    SELECT ctid AS place, job_id, version, effective_until FROM job_versions
    WHERE (job_id, version) > (%(after_job)s::uuid, %(after)s::int)
    ORDER BY job_id, version LIMIT %(many)s::int
),
gone AS (
    DELETE FROM job_versions WHERE ctid = ANY (ARRAY(
        SELECT place FROM bite WHERE effective_until < now() - make_interval(days => %(retention_days)s::int + 1)
    ))
    RETURNING job_id
)
SELECT (SELECT count(*) FROM gone), last.job_id, last.version
FROM (VALUES (1)) AS one_row LEFT JOIN (
    SELECT job_id, version FROM bite ORDER BY job_id, version OFFSET %(many)s::int - 1 LIMIT 1
) AS last ON true;

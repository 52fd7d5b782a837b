-- name: forecast_groups
-- Active recurring jobs that fire alike, the largest groups first, each with the number of jobs in all. Where each job has
-- a place of its own, up to 512 of its kind are listed, each for its share.
SELECT kind.schedule_recurring, kind.timezone, kind.terms, kind.target_host, kind.job_id::uuid, kind.jobs,
    kind.jobs > 1 AND kind.place IS NOT NULL, kind.all_jobs
FROM (
    SELECT j.schedule_recurring, j.timezone, j.terms, j.target_host, min(j.job_id::text) AS job_id, count(*) AS jobs,
        p.place, sum(count(*)) OVER ()::bigint AS all_jobs
    FROM jobs j CROSS JOIN LATERAL (
        SELECT CASE WHEN j.schedule_recurring ~ '(^|[^a-zA-Z])[hH]([^a-zA-Z]|$)|@every' OR j.terms LIKE '%%"window"%%'
            THEN get_byte(uuid_send(j.job_id), 15) * 2 + get_byte(uuid_send(j.job_id), 14) %% 2 END AS place
    ) AS p
    WHERE j.tenant_id = %(tenant_id)s AND j.state = 'ACTIVE' AND j.schedule_recurring IS NOT NULL
      AND (%(target)s::text IS NULL OR j.target_host = %(target)s::text)
    GROUP BY j.schedule_recurring, j.timezone, j.terms, j.target_host, p.place
    ORDER BY count(*) DESC, job_id
) AS kind
LIMIT %(limit)s::int;

-- name: forecast_singles
-- Single runs of the time, by minute and target: one-off jobs, and what was wanted by hand. (What waits in a lane has been
-- due before.)
SELECT date_trunc('minute', r.due_at) AS minute, j.target_host, count(*)
FROM runs r JOIN jobs j ON j.job_id = r.job_id
WHERE r.tenant_id = %(tenant_id)s AND r.node_id IS NULL AND NOT r.set_aside AND r.due_at >= %(start)s AND r.due_at < %(end)s
  AND (j.schedule_oneoff IS NOT NULL OR r.trigger <> 'schedule')
  AND (%(target)s::text IS NULL OR j.target_host = %(target)s::text)
GROUP BY 1, 2;

-- name: count_due
-- How many runs of a tenant are due in a span of time, counted up to a limit.
SELECT count(*) FROM (
    SELECT FROM runs r
    WHERE r.tenant_id = %(tenant_id)s AND r.node_id IS NULL AND NOT r.set_aside AND r.due_at >= %(start)s AND r.due_at < %(end)s
    LIMIT %(limit)s::int
) AS due;

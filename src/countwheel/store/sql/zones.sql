-- name: zone_release
SELECT release FROM zone_release;

-- name: set_zone_release
INSERT INTO zone_release (release) VALUES (%(release)s)
ON CONFLICT (only_row) DO UPDATE SET release = excluded.release, since = now()
WHERE zone_release.release < excluded.release;

-- name: find_armed_by_wall_clock
-- What was planned by the clock of a place, and may be planned anew: nobody has claimed it, and it is not due yet.
SELECT j.job_id, j.tenant_id, j.schedule_recurring, j.schedule_oneoff, j.timezone, j.terms, r.scheduled_for
FROM jobs j JOIN runs r ON r.job_id = j.job_id
WHERE j.job_id > %(after)s AND j.state IN ('ACTIVE', 'PAUSED')
  AND (j.timezone IS NOT NULL OR j.schedule_recurring LIKE '%%TZ=%%')
  AND r.trigger = 'schedule' AND r.fence = 0 AND r.scheduled_for > now() + interval '10 s'
ORDER BY j.job_id
LIMIT %(limit)s::int;

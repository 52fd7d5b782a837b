-- name: find_calendars
SELECT name, version, exclusion FROM calendars WHERE tenant_id = %(tenant_id)s AND name = ANY(%(names)s);

-- name: put_calendar
-- Make a calendar, or another version of it where it is to leave out something else. The old row tells which it was.
INSERT INTO calendars AS c (tenant_id, name, exclusion, description)
VALUES (%(tenant_id)s, %(name)s, %(exclusion)s, %(description)s)
ON CONFLICT (tenant_id, name) DO UPDATE SET
    version = c.version + (c.exclusion <> excluded.exclusion)::int,
    exclusion = excluded.exclusion, description = excluded.description,
    updated_at = CASE WHEN c.exclusion <> excluded.exclusion OR c.description IS DISTINCT FROM excluded.description
        THEN now() ELSE c.updated_at END
RETURNING xmax = 0;

-- name: read_calendars
-- One calendar, or a page of them by name.
SELECT name, version, exclusion, description, created_at, updated_at, carried >= version FROM calendars
WHERE tenant_id = %(tenant_id)s AND (%(name)s::text IS NULL OR name = %(name)s::text)
  AND (%(after)s::text IS NULL OR name > %(after)s::text)
ORDER BY name LIMIT %(limit)s::int;

-- name: delete_calendar
DELETE FROM calendars WHERE tenant_id = %(tenant_id)s AND name = %(name)s;

-- name: names_calendar
-- Does any job name it? All that do are looked up first: for one alone the planner would rather walk through the table.
WITH named AS MATERIALIZED (
    SELECT tenant_id, state FROM jobs
    WHERE terms::jsonb #> '{exclude,calendars}' IS NOT NULL AND terms::jsonb #> '{exclude,calendars}' ? %(name)s::text
)
SELECT FROM named WHERE tenant_id = %(tenant_id)s AND state IN ('ACTIVE', 'PAUSED') LIMIT 1;

-- name: find_changed_calendars
-- Those whose last version not every job has got; and, for a minute, any that has changed: a job that was about to be
-- created with the version before may have come since.
SELECT tenant_id, name, version, exclusion FROM calendars
WHERE carried < version OR updated_at > now() - interval '1 minute'
ORDER BY carried < version DESC, updated_at DESC LIMIT 100;

-- name: find_jobs_behind
-- Jobs that have an older copy of a calendar.
SELECT job_id FROM jobs
WHERE terms::jsonb #> '{exclude,calendars}' IS NOT NULL AND terms::jsonb #> '{exclude,calendars}' ? %(name)s::text
  AND tenant_id = %(tenant_id)s AND state IN ('ACTIVE', 'PAUSED')
  AND (terms::jsonb #>> ARRAY['calendar_copies', %(name)s::text, 'version'])::int < %(version)s
ORDER BY job_id LIMIT %(limit)s::int;

-- name: mark_carried
UPDATE calendars SET carried = %(version)s
WHERE tenant_id = %(tenant_id)s AND name = %(name)s AND version = %(version)s AND carried < %(version)s;

-- name: set_terms
UPDATE jobs SET terms = %(terms)s, version = version + 1, effective_from = %(changed_at)s, updated_at = %(changed_at)s
WHERE job_id = %(job_id)s;

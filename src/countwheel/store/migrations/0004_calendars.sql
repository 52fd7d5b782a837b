-- Time in full, the second part: calendars, a limit of runs, a pause that says why, backfills, versions in full.
-- Every step expands: the release before runs on this schema.

-- Days and times that jobs leave out, by name. A job carries its own copy of those that it names (decision 0014);
-- `carried` is the version that every job has got.
CREATE TABLE calendars (
    tenant_id   uuid NOT NULL,
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    version     integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    exclusion   text NOT NULL CHECK (jsonb_typeof(exclusion::jsonb) = 'object'),
    description text,
    carried     integer NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name),
    CONSTRAINT carried_was_there CHECK (carried <= version)
);
-- Which jobs name a calendar. Most jobs say nothing of the kind, and are not in it.
CREATE INDEX jobs_by_calendar ON jobs USING gin (((terms::jsonb) #> '{exclude,calendars}'))
    WHERE ((terms::jsonb) #> '{exclude,calendars}') IS NOT NULL;

ALTER TABLE jobs
    ADD COLUMN runs_begun integer NOT NULL DEFAULT 0 CHECK (runs_begun >= 0), -- counted for jobs with max_runs only
    ADD COLUMN pause_reason text,
    ADD COLUMN paused_at timestamptz;

-- What a job was as a whole, as it would be submitted; NULL for versions of earlier releases.
ALTER TABLE job_versions
    ADD COLUMN definition text CHECK (jsonb_typeof(definition::jsonb) = 'object'),
    ADD COLUMN pause_reason text;

-- A backfill says for itself what becomes of its runs while earlier ones of it are alive.
ALTER TABLE runs
    ADD COLUMN overlap text CHECK (overlap IN ('queue_all', 'allow')),
    DROP CONSTRAINT runs_trigger_check,
    ADD CONSTRAINT runs_trigger_check CHECK (trigger IN ('schedule', 'manual', 'backfill'));
ALTER TABLE run_history
    DROP CONSTRAINT run_history_trigger_check,
    ADD CONSTRAINT run_history_trigger_check CHECK (trigger IN ('schedule', 'manual', 'backfill'));

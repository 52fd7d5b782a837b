-- Time in full: what a job says about its occurrences beside the expression.
-- Every step expands: the release before runs on this schema.

-- JSON, kept as text and NULL for most jobs: a claim carries it, and the engine remembers what a text means.
ALTER TABLE jobs ADD COLUMN terms text CHECK (jsonb_typeof(terms::jsonb) = 'object');
ALTER TABLE job_versions ADD COLUMN terms text;

-- A run that is due and waits for an earlier one of its job to end; and why somebody wants a run ended.
ALTER TABLE runs
    ADD COLUMN waiting boolean NOT NULL DEFAULT false,
    ADD COLUMN cancel_reason text;

-- Runs that somebody wanted now.
ALTER TABLE runs DROP CONSTRAINT runs_trigger_check, ADD CONSTRAINT runs_trigger_check CHECK (trigger IN ('schedule', 'manual'));
ALTER TABLE run_history
    DROP CONSTRAINT run_history_trigger_check,
    ADD CONSTRAINT run_history_trigger_check CHECK (trigger IN ('schedule', 'manual'));

-- Which release of the IANA time zones the armed runs were planned with (2026a, 2026b: they sort). One row.
CREATE TABLE zone_release (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    release  text NOT NULL,
    since    timestamptz NOT NULL DEFAULT now()
);

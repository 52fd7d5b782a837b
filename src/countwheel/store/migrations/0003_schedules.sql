-- Time in full: what a job says about its occurrences beside the expression.
-- Every step expands: the release before runs on this schema.

-- JSON, kept as text and NULL for most jobs: a claim carries it, and the engine remembers what a text means.
ALTER TABLE jobs ADD COLUMN terms text CHECK (jsonb_typeof(terms::jsonb) = 'object');
ALTER TABLE job_versions ADD COLUMN terms text;

-- A run that is due and waits for an earlier one of its job to end; and why somebody wants a run ended.
ALTER TABLE runs
    ADD COLUMN waiting boolean NOT NULL DEFAULT false,
    ADD COLUMN cancel_reason text;

-- Dead letters: runs that failed are found, grouped, and redriven; who wants to hear of the end of a run.
-- Every step expands: the release before runs on this schema.

-- How many attempts a run had before it was redriven: they count for nothing in its retry policy. NULL for nearly every run.
-- (One narrow column: PostgreSQL guesses the size of a table without statistics by the width of its columns.)
ALTER TABLE runs ADD COLUMN attempts_before smallint CHECK (attempts_before BETWEEN 0 AND attempt);

ALTER TABLE run_history
    ADD COLUMN fingerprint text CHECK (length(fingerprint) = 16), -- of a failure: equal for those that look alike
    ADD COLUMN target text CHECK (length(target) <= 253), -- the host, where it is known and the run did not simply succeed
    -- What an errand that failed would call, so that it can be redriven.
    ADD COLUMN call_method text,
    ADD COLUMN call_url text,
    ADD COLUMN call_body text,
    DROP CONSTRAINT only_the_unknown_is_resolved,
    ADD CONSTRAINT only_dead_letters_are_resolved CHECK (
        resolution IS NULL OR status = 'UNKNOWN' OR (status = 'FAILED' AND resolution = 'RETRIED')
    );

-- Lists of what did not succeed. A run that succeeded costs none of them anything (decision 0020).
CREATE INDEX run_history_by_status ON run_history (tenant_id, status, finished_at, run_id)
    WHERE status <> 'SUCCEEDED' AND resolution IS DISTINCT FROM 'RETRIED';
CREATE INDEX run_history_by_fingerprint ON run_history (tenant_id, fingerprint, finished_at, run_id)
    WHERE fingerprint IS NOT NULL AND resolution IS DISTINCT FROM 'RETRIED';
-- Failures of a span of time, those that were redriven since, too.
CREATE INDEX run_history_failures ON run_history (tenant_id, finished_at) WHERE fingerprint IS NOT NULL;
-- Rows come in the order of their ends: some hundred bytes for a thousand of them tell where a span of time lies.
CREATE INDEX run_history_by_end ON run_history USING brin (finished_at) WITH (pages_per_range = 32, autosummarize = on);

-- Whom a tenant wants told, where a job does not say.
CREATE TABLE notification_defaults (
    tenant_id  uuid PRIMARY KEY,
    on_failure text CHECK (length(on_failure) <= 2048),
    on_success text CHECK (length(on_success) <= 2048),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Many nodes, and what none of them can know: versions of jobs, delivery at most once, held runs, fair claiming.
-- Every step expands: the release before runs on this schema.

ALTER TABLE jobs
    ADD COLUMN version        integer NOT NULL DEFAULT 1 CHECK (version >= 1), -- the ETag; rises with every change
    ADD COLUMN effective_from timestamptz, -- since when this version holds; NULL: since the job was created
    ADD COLUMN delivery       text NOT NULL DEFAULT 'at_least_once' CHECK (delivery IN ('at_least_once', 'at_most_once')),
    ADD COLUMN on_unknown     text NOT NULL DEFAULT 'retry' CHECK (on_unknown IN ('retry', 'hold')),
    ADD CONSTRAINT never_twice_is_held CHECK (delivery <> 'at_most_once' OR on_unknown = 'hold');

-- What a job was before each change, so that an audit knows which schedule was in force when.
CREATE TABLE job_versions (
    job_id             uuid NOT NULL,
    version            integer NOT NULL,
    tenant_id          uuid NOT NULL,
    state              text NOT NULL,
    schedule_recurring text,
    schedule_oneoff    text,
    timezone           text,
    effective_from     timestamptz NOT NULL,
    effective_until    timestamptz NOT NULL,
    PRIMARY KEY (job_id, version)
);

-- The version of the job that this row was last touched by. A claim whose snapshot shows an older job than this has read
-- it from before a change, and reads again.
ALTER TABLE runs ADD COLUMN job_version integer NOT NULL DEFAULT 1;

-- What is due next for one tenant: a flood of another's runs is stepped over, not waited for.
CREATE INDEX runs_due_by_tenant ON runs (tenant_id, due_at) WHERE node_id IS NULL;

-- What a person decided about a run whose outcome nobody knows. The row stays UNKNOWN: that is what it is.
ALTER TABLE run_history
    ADD COLUMN resolution      text CHECK (resolution IN ('SUCCEEDED', 'FAILED', 'RETRIED')),
    ADD COLUMN resolved_at     timestamptz,
    ADD COLUMN resolved_by     text,
    ADD COLUMN resolution_note text CHECK (length(resolution_note) <= 1000),
    ADD CONSTRAINT only_the_unknown_is_resolved CHECK (resolution IS NULL OR status = 'UNKNOWN'),
    ADD CONSTRAINT a_resolution_is_signed CHECK (
        (resolution IS NULL) = (resolved_at IS NULL) AND (resolution IS NULL) = (resolved_by IS NULL)
    );

ALTER TABLE nodes
    ADD COLUMN roles           text[] NOT NULL DEFAULT '{api,engine}',
    ADD COLUMN clock_offset_ms double precision, -- the node's wall clock less the database's, at the last heartbeat
    ADD COLUMN machine         text,             -- this boot and this process table: who shares it can see a process die
    ADD COLUMN process_started bigint;           -- in ticks since that boot: a process id that came round again is another

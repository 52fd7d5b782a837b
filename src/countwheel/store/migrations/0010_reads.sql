-- Listings over a million jobs and as many live runs: every page within 20 ms, wherever it begins (decision 0028).
-- Every step expands: the release before runs on this schema.

-- Few jobs are paused or deleted, and the others have no entry. (Not by `state`: that would make every completion a non-HOT update.)
UPDATE jobs SET paused_at = updated_at WHERE state = 'PAUSED' AND paused_at IS NULL; -- paused by the first releases
CREATE INDEX jobs_paused ON jobs (tenant_id, job_id) WHERE paused_at IS NOT NULL;
CREATE INDEX jobs_deleted ON jobs (tenant_id, job_id) WHERE deleted_at IS NOT NULL;
CREATE INDEX jobs_by_name ON jobs (tenant_id, name, job_id) WHERE name IS NOT NULL;

-- What waits for another attempt: a run in line has had one if and only if it is RETRYING. (`state` changes while a run is
-- held, and then no index is to be touched.)
CREATE INDEX runs_retrying ON runs (tenant_id, due_at, run_id) WHERE node_id IS NULL AND attempt > 0;

-- Where a span of time lies in the ledger, and which tenants have runs there: a tenant with few runs on a busy server is found
-- without reading everybody's. It takes the place of the index on the time alone, and costs a run as little.
CREATE INDEX run_history_by_end_and_tenant ON run_history
    USING brin (finished_at, tenant_id uuid_bloom_ops (n_distinct_per_range = 128))
    WITH (pages_per_range = 32, autosummarize = on);
DROP INDEX run_history_by_end;
ALTER INDEX run_history_by_end_and_tenant RENAME TO run_history_by_end;

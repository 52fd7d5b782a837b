-- Delivery in full, the second part: targets, how they are paced, and lanes. Every step expands: the release before runs on
-- this schema. (It knows of no lane: what waits in one it claims, unpaced, with a slower plan.)

-- What somebody has limited, or the engine has found to be unwell. A target that is neither has no row.
CREATE TABLE targets (
    tenant_id       uuid NOT NULL,
    name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 255), -- a flow, or a host
    -- What people say:
    max_concurrency integer CHECK (max_concurrency >= 1),
    rate_per_second double precision CHECK (rate_per_second > 0),
    burst           integer CHECK (burst >= 1),
    breaker         text CHECK (breaker IN ('on', 'off')), -- NULL: not said, on
    paused_at       timestamptz,
    pause_reason    text CHECK (length(pause_reason) <= 1000),
    -- What the engine finds out:
    next_slot_at    timestamptz, -- of the rate
    opened_at       timestamptz,
    open_until      timestamptz, -- NULL: the breaker is closed
    openings        smallint NOT NULL DEFAULT 0, -- in a row: each is longer than the one before
    probes          smallint NOT NULL DEFAULT 0, -- that have succeeded in a row
    probed_at       timestamptz, -- a probe is under way since
    open_reason     text CHECK (length(open_reason) <= 1000),
    slowed_rate     double precision CHECK (slowed_rate > 0), -- NULL: not slowed down
    slowed_from     double precision,
    slowed_at       timestamptz, -- recovery counts from here; calls begin not before it
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name),
    CONSTRAINT burst_is_of_a_rate CHECK (burst IS NULL OR rate_per_second IS NOT NULL),
    CONSTRAINT open_has_begun CHECK (open_until IS NULL OR opened_at IS NOT NULL),
    CONSTRAINT slowed_in_full CHECK (num_nonnulls(slowed_rate, slowed_from, slowed_at) IN (0, 3))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The name of the target by whose pace a run waits; NULL for nearly all. Such a run is in no common queue. (`set_aside` says the
-- same for the indexes: of a boolean the planner assumes a half where it has no statistics, of a NULL next to nothing, and then
-- one index is as good to it as another.)
ALTER TABLE runs
    ADD COLUMN lane text CHECK (length(lane) BETWEEN 1 AND 255),
    ADD COLUMN set_aside boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT set_aside_into_a_lane CHECK (set_aside = (lane IS NOT NULL));

CREATE INDEX runs_due_in_common ON runs (bucket, due_at) WHERE node_id IS NULL AND NOT set_aside;
DROP INDEX runs_due;
ALTER INDEX runs_due_in_common RENAME TO runs_due;
CREATE INDEX runs_due_by_tenant_in_common ON runs (tenant_id, due_at) WHERE node_id IS NULL AND NOT set_aside;
DROP INDEX runs_due_by_tenant;
ALTER INDEX runs_due_by_tenant_in_common RENAME TO runs_due_by_tenant;
-- What waits in each lane, and what of it is under way.
CREATE INDEX runs_in_lane ON runs (tenant_id, lane, due_at) WHERE node_id IS NULL AND set_aside;
CREATE INDEX runs_held_of_lane ON runs (tenant_id, lane) WHERE node_id IS NOT NULL AND set_aside;

-- The first schema: tenants and their keys, jobs, live runs, the ledger, idempotency keys and nodes.
--
-- Hot tables carry no foreign keys: their rows are written in batches by statements that already hold the parent, and a
-- check a row would cost more than it proves. What a row must hold by itself is a CHECK constraint.

CREATE TABLE tenants (
    tenant_id      uuid PRIMARY KEY,
    name           text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
    signing_secret bytea NOT NULL, -- sealed with COUNTWHEEL_SECRET_KEY; never in clear at rest
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE clients (
    client_id   text PRIMARY KEY CHECK (length(client_id) BETWEEN 1 AND 200),
    tenant_id   uuid NOT NULL REFERENCES tenants,
    name        text NOT NULL,
    secret_hash bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    scopes      text[] NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz
);

CREATE TABLE issuer_keys (
    kid         text PRIMARY KEY,
    private_key bytea NOT NULL, -- sealed with COUNTWHEEL_SECRET_KEY
    created_at  timestamptz NOT NULL
);

-- What a client wants called, and when. Wide, rarely written.
CREATE TABLE jobs (
    job_id             uuid PRIMARY KEY,
    tenant_id          uuid NOT NULL,
    state              text NOT NULL CHECK (state IN ('ACTIVE', 'PAUSED', 'COMPLETED', 'DELETED')),
    schedule_recurring text,
    schedule_oneoff    text, -- as submitted; the instant it means is its run's scheduled_for
    timezone           text,
    job_url            text NOT NULL,
    target_host        text NOT NULL,
    job_payload        text NOT NULL, -- JSON, kept as text: these bytes are what is signed and sent
    name               text,
    labels             jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
    timeout_seconds    double precision NOT NULL CHECK (timeout_seconds BETWEEN 1 AND 1800),
    max_attempts       smallint NOT NULL CHECK (max_attempts BETWEEN 1 AND 20),
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    deleted_at         timestamptz,
    ended_at           timestamptz,
    CONSTRAINT one_schedule CHECK (num_nonnulls(schedule_recurring, schedule_oneoff) = 1),
    CONSTRAINT deleted_has_its_time CHECK ((state = 'DELETED') = (deleted_at IS NOT NULL)),
    CONSTRAINT ended_has_its_time CHECK ((state IN ('COMPLETED', 'DELETED')) = (ended_at IS NOT NULL))
) WITH (fillfactor = 80); -- room for the HOT update that marks a one-off job COMPLETED
CREATE INDEX jobs_by_tenant ON jobs (tenant_id, job_id);
-- No predicate on `state`: an index that names it would make every completion a non-HOT update. Recurring jobs are
-- the ones whose chain the sweep must check.
CREATE INDEX jobs_recurring ON jobs (job_id) WHERE schedule_recurring IS NOT NULL;

-- Live runs only: a row leaves for run_history when its run ends. Narrow, hot.
CREATE TABLE runs (
    job_id              uuid NOT NULL,
    run_id              uuid NOT NULL,
    tenant_id           uuid NOT NULL,
    bucket              smallint NOT NULL CHECK (bucket BETWEEN 0 AND 7),
    trigger             text NOT NULL CHECK (trigger IN ('schedule')),
    state               text NOT NULL CHECK (state IN ('SCHEDULED', 'CLAIMED', 'RUNNING', 'RETRYING')),
    scheduled_for       timestamptz NOT NULL CHECK (scheduled_for = date_trunc('milliseconds', scheduled_for)),
    due_at              timestamptz NOT NULL,
    attempt             smallint NOT NULL DEFAULT 0 CHECK (attempt >= 0), -- counted at the claim
    lost_attempts       smallint NOT NULL DEFAULT 0, -- attempts whose node was lost before their record
    fence               integer NOT NULL DEFAULT 0 CHECK (fence >= 0), -- only rises
    node_id             text, -- the holder; its lease is in `nodes`
    started_at          timestamptz, -- of the first attempt
    error               text, -- of the last attempt
    cancel_requested_at timestamptz,
    -- The primary key is what makes one run of one occurrence: the run's id is its occurrence.
    PRIMARY KEY (job_id, run_id),
    CONSTRAINT never_due_early CHECK (due_at >= scheduled_for),
    CONSTRAINT held_when_claimed CHECK ((node_id IS NOT NULL) = (state IN ('CLAIMED', 'RUNNING'))),
    CONSTRAINT running_has_started CHECK (state <> 'RUNNING' OR started_at IS NOT NULL),
    CONSTRAINT retrying_says_why CHECK (state <> 'RETRYING' OR (attempt >= 1 AND error IS NOT NULL)),
    CONSTRAINT scheduled_is_untried CHECK (state <> 'SCHEDULED' OR attempt = 0),
    CONSTRAINT lost_is_part_of_attempts CHECK (lost_attempts BETWEEN 0 AND attempt)
) WITH (
    fillfactor = 70,
    -- A queue table is churned through many times an hour: vacuum by count, not by share, and without pauses.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0
);
-- What is due next. Claimed rows are not in it, so a claim never walks past what is in flight.
CREATE INDEX runs_due ON runs (bucket, due_at) WHERE node_id IS NULL;
-- What a lost node held.
CREATE INDEX runs_held ON runs (node_id) WHERE node_id IS NOT NULL;
-- What its holder has been asked to stop: nearly always empty, polled often.
CREATE INDEX runs_cancel_requested ON runs (node_id) WHERE cancel_requested_at IS NOT NULL;

-- The ledger: one row for each ended run (or for a dropped range of occurrences). Append-only but for deleted_at.
CREATE TABLE run_history (
    job_id        uuid NOT NULL,
    run_id        uuid NOT NULL,
    tenant_id     uuid NOT NULL,
    trigger       text NOT NULL CHECK (trigger IN ('schedule')),
    status        text NOT NULL CHECK (status IN ('SUCCEEDED', 'FAILED', 'CANCELED', 'SKIPPED', 'EXPIRED', 'UNKNOWN')),
    scheduled_for timestamptz NOT NULL,
    due_at        timestamptz NOT NULL,
    started_at    timestamptz,
    finished_at   timestamptz NOT NULL,
    attempt       smallint NOT NULL CHECK (attempt >= 0),
    lost_attempts smallint NOT NULL CHECK (lost_attempts BETWEEN 0 AND attempt),
    fence         integer NOT NULL CHECK (fence >= 0),
    node_id       text,
    http_status   smallint CHECK (http_status BETWEEN 100 AND 999),
    error         text,
    response_head bytea CHECK (octet_length(response_head) <= 4096),
    occurrences   integer NOT NULL DEFAULT 1 CHECK (occurrences >= 1),
    superseded_by timestamptz,
    deleted_at    timestamptz,
    CONSTRAINT success_is_a_2xx CHECK (status <> 'SUCCEEDED' OR (http_status IS NOT NULL AND http_status BETWEEN 200 AND 299)),
    CONSTRAINT success_has_started CHECK (status <> 'SUCCEEDED' OR started_at IS NOT NULL),
    CONSTRAINT other_ends_say_why CHECK (status = 'SUCCEEDED' OR error IS NOT NULL),
    CONSTRAINT a_range_is_superseded CHECK (occurrences = 1 OR superseded_by IS NOT NULL),
    CONSTRAINT superseded_later CHECK (superseded_by > scheduled_for)
) PARTITION BY RANGE (finished_at);
CREATE INDEX run_history_by_job ON run_history (job_id, run_id);
-- A row never lacks a home, whatever a clock says; the pruner makes the daily partitions ahead.
CREATE TABLE run_history_default PARTITION OF run_history DEFAULT;

-- Attempts that did not simply succeed, each with the head of its answer.
CREATE TABLE attempts (
    job_id        uuid NOT NULL,
    run_id        uuid NOT NULL,
    tenant_id     uuid NOT NULL,
    attempt       smallint NOT NULL CHECK (attempt >= 1),
    fence         integer NOT NULL CHECK (fence >= 1),
    node_id       text NOT NULL,
    started_at    timestamptz, -- unknown where the node was lost before it wrote the start down
    finished_at   timestamptz NOT NULL,
    http_status   smallint CHECK (http_status BETWEEN 100 AND 999),
    error         text NOT NULL,
    response_head bytea CHECK (octet_length(response_head) <= 4096)
) PARTITION BY RANGE (finished_at);
CREATE INDEX attempts_by_run ON attempts (job_id, run_id);
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;

-- Cancelled occurrences, kept so that planning leaves them out. The ledger has its own row for each, from the moment
-- that `accounted` is true.
CREATE TABLE cancelled_occurrences (
    job_id        uuid NOT NULL,
    scheduled_for timestamptz NOT NULL,
    run_id        uuid NOT NULL,
    tenant_id     uuid NOT NULL,
    accounted     boolean NOT NULL,
    cancelled_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, scheduled_for)
);
-- Nearly always empty: what a crash left between the two commits of a future cancel.
CREATE INDEX cancelled_occurrences_unaccounted ON cancelled_occurrences (run_id) WHERE NOT accounted;

-- One row a key, written in the transaction of what it protects (criteria I5 and I7).
CREATE TABLE idempotency_keys (
    tenant_id   uuid NOT NULL,
    operation   text NOT NULL,
    key         text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    job_id      uuid NOT NULL,
    answer      text NOT NULL, -- the stored body of the 201
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, operation, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- One row a node incarnation. Its lease is the lease of every run it holds.
CREATE TABLE nodes (
    node_id      text PRIMARY KEY,
    host         text NOT NULL,
    pid          integer NOT NULL,
    version      text NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    lease_until  timestamptz NOT NULL,
    stopped_at   timestamptz, -- said goodbye
    lost_at      timestamptz, -- declared dead by a peer: its runs were taken over
    CONSTRAINT ends_once CHECK (num_nonnulls(stopped_at, lost_at) <= 1)
);

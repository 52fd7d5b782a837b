-- Delivery in full, the first part: what a job says of its calls, secrets by name, signing secrets that rotate, errands, and
-- what an attempt met on its way. Every step expands: the release before runs on this schema.

-- JSON, kept as text and NULL for most jobs, as `terms` are. No secret is in it: it names those that it needs.
ALTER TABLE jobs ADD COLUMN calling text CHECK (jsonb_typeof(calling::jsonb) = 'object');

-- Values that calls need and nobody may read: header values, tokens, passwords.
CREATE TABLE secrets (
    tenant_id  uuid NOT NULL,
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    sealed     bytea NOT NULL, -- with COUNTWHEEL_SECRET_KEY, bound to tenant and name
    version    integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name)
);

-- What signs a tenant's calls, since its first rotation: before that it is `tenants.signing_secret` alone. During a rotation
-- two of a scheme sign side by side.
CREATE TABLE signing_secrets (
    secret_id  uuid PRIMARY KEY,
    tenant_id  uuid NOT NULL,
    scheme     text NOT NULL CHECK (scheme IN ('v1', 'v1a')),
    sealed     bytea NOT NULL, -- v1: the shared secret; v1a: the private key
    public_key bytea CHECK (octet_length(public_key) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz, -- NULL: until it is rotated
    CONSTRAINT a_private_key_has_a_public_one CHECK ((scheme = 'v1a') = (public_key IS NOT NULL))
);
CREATE INDEX signing_secrets_by_tenant ON signing_secrets (tenant_id);

-- Errands: runs that make another call than their job's.
ALTER TABLE runs
    ADD COLUMN call_method text CHECK (call_method IN ('POST', 'DELETE')),
    ADD COLUMN call_url text,
    ADD COLUMN call_body text,
    ADD CONSTRAINT an_errand_says_what_to_call CHECK (
        (trigger IN ('notification', 'cancellation')) = (call_url IS NOT NULL)
        AND (call_url IS NULL) = (call_method IS NULL) AND (call_url IS NULL) = (call_body IS NULL)
    ),
    DROP CONSTRAINT runs_trigger_check,
    ADD CONSTRAINT runs_trigger_check CHECK (trigger IN ('schedule', 'manual', 'backfill', 'notification', 'cancellation'));
ALTER TABLE run_history
    DROP CONSTRAINT run_history_trigger_check,
    ADD CONSTRAINT run_history_trigger_check CHECK (trigger IN ('schedule', 'manual', 'backfill', 'notification', 'cancellation'));

-- What an attempt met: where it went and how long each step took (`trace`), what class of error it was, the head of the answer.
ALTER TABLE run_history
    ADD COLUMN trace text CHECK (length(trace) <= 200),
    ADD COLUMN error_class text CHECK (length(error_class) <= 64);
ALTER TABLE attempts
    ADD COLUMN trace text CHECK (length(trace) <= 200),
    ADD COLUMN error_class text CHECK (length(error_class) <= 64),
    ADD COLUMN response_headers text CHECK (length(response_headers) <= 4096);

-- Which jobs name a secret. Most jobs say nothing of their calls, and are not in it.
CREATE INDEX jobs_by_secret ON jobs USING gin ((jsonb_path_query_array(calling::jsonb, '$.**.secret'))) WHERE calling IS NOT NULL;

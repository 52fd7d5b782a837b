-- Who may do what: principals with access keys, policies, tenants with quotas, and the record of what was done.
-- Every step expands: the release before runs on this schema.

ALTER TABLE tenants
    ADD COLUMN suspended_at timestamptz,
    ADD COLUMN suspend_reason text CHECK (length(suspend_reason) <= 1000),
    -- Quotas. NULL: without limit.
    ADD COLUMN max_jobs integer CHECK (max_jobs >= 0),
    ADD COLUMN creates_per_second real CHECK (creates_per_second > 0),
    ADD COLUMN runs_per_second real CHECK (runs_per_second > 0),
    ADD COLUMN max_payload_bytes bigint CHECK (max_payload_bytes >= 0);

CREATE INDEX clients_by_tenant ON clients (tenant_id, client_id);

-- Who signs requests with access keys, or comes with the token of a trusted issuer.
CREATE TABLE principals (
    principal_id uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants,
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);

CREATE TABLE access_keys (
    access_key_id text PRIMARY KEY CHECK (length(access_key_id) BETWEEN 16 AND 128),
    principal_id  uuid NOT NULL REFERENCES principals ON DELETE CASCADE,
    tenant_id     uuid NOT NULL REFERENCES tenants,
    sealed        bytea NOT NULL, -- the secret, under COUNTWHEEL_SECRET_KEY, bound to key id and tenant
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,
    last_used_at  timestamptz, -- to the minute
    revoked_at    timestamptz
);
CREATE INDEX access_keys_by_principal ON access_keys (principal_id);

-- A subject of a trusted issuer that is a principal of a tenant: by exact match of all three.
CREATE TABLE principal_identities (
    tenant_id    uuid NOT NULL REFERENCES tenants,
    issuer       text NOT NULL CHECK (length(issuer) BETWEEN 1 AND 512),
    subject      text NOT NULL CHECK (length(subject) BETWEEN 1 AND 512),
    audience     text NOT NULL CHECK (length(audience) BETWEEN 1 AND 512),
    principal_id uuid NOT NULL REFERENCES principals ON DELETE CASCADE,
    PRIMARY KEY (tenant_id, issuer, subject, audience) -- what one tenant says of a subject is no other's business
);
CREATE INDEX principal_identities_by_principal ON principal_identities (principal_id);

CREATE TABLE policies (
    tenant_id  uuid NOT NULL REFERENCES tenants,
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    document   text NOT NULL CHECK (length(document) <= 65536), -- as it was read and found good
    version    integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name)
);

-- Whose rights a policy is a part of: `clients/{id}` or `principals/{id}`.
CREATE TABLE policy_attachments (
    tenant_id   uuid NOT NULL,
    holder      text NOT NULL CHECK (length(holder) BETWEEN 1 AND 256),
    policy_name text NOT NULL,
    attached_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, holder, policy_name),
    FOREIGN KEY (tenant_id, policy_name) REFERENCES policies (tenant_id, name)
);
CREATE INDEX policy_attachments_by_policy ON policy_attachments (tenant_id, policy_name);

-- Who did what, to which resource, from where, with which key. A row is never changed; days past the retention are dropped.
CREATE TABLE audit_log (
    entry_id   uuid NOT NULL, -- sorts by time
    tenant_id  uuid NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    principal  text NOT NULL,
    key_id     text, -- the access key, or the token's id
    source_ip  inet,
    action     text NOT NULL,
    resource   text NOT NULL,
    status     smallint NOT NULL, -- of the answer
    request_id uuid NOT NULL,
    before     text, -- JSON, without what is secret
    after      text,
    PRIMARY KEY (tenant_id, entry_id, at)
) PARTITION BY RANGE (at);
CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;

CREATE FUNCTION refuse_to_rewrite_the_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_to_rewrite_the_audit_log();
CREATE TRIGGER audit_log_is_not_truncated BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_the_audit_log();

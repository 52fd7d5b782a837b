-- name: put_secret
-- Make a secret, or give it another value. `sealed` differs each time: whether the value does is not known here.
INSERT INTO secrets AS s (tenant_id, name, sealed) VALUES (%(tenant_id)s, %(name)s, %(sealed)s)
ON CONFLICT (tenant_id, name) DO UPDATE SET sealed = excluded.sealed, version = s.version + 1, updated_at = now()
RETURNING xmax = 0;

-- name: read_secrets
-- One secret, or a page of them by name; never what is in them.
SELECT name, version, created_at, updated_at FROM secrets
WHERE tenant_id = %(tenant_id)s AND (%(name)s::text IS NULL OR name = %(name)s::text)
  AND (%(after)s::text IS NULL OR name > %(after)s::text)
ORDER BY name LIMIT %(limit)s::int;

-- name: open_secrets
SELECT name, sealed FROM secrets WHERE tenant_id = %(tenant_id)s AND name = ANY(%(names)s);

-- name: delete_secret
DELETE FROM secrets WHERE tenant_id = %(tenant_id)s AND name = %(name)s;

-- name: names_secret
-- Does a job that has not ended name it? All that do are looked up first, by the index, whoever's they are.
WITH named AS MATERIALIZED (
    SELECT tenant_id, state FROM jobs
    WHERE calling IS NOT NULL AND jsonb_path_query_array(calling::jsonb, '$.**.secret') ? %(name)s::text
)
SELECT FROM named WHERE tenant_id = %(tenant_id)s AND state IN ('ACTIVE', 'PAUSED') LIMIT 1;

-- name: signing_keys
-- What signs the calls of some tenants, newest first. Before its first rotation a tenant has the secret of its own row alone.
SELECT t.tenant_id, NULL::uuid AS secret_id, 'v1' AS scheme, t.signing_secret AS sealed, NULL::bytea AS public_key,
    t.created_at, NULL::timestamptz AS expires_at
FROM tenants t
WHERE t.tenant_id = ANY(%(tenant_ids)s)
  AND NOT EXISTS (SELECT FROM signing_secrets s WHERE s.tenant_id = t.tenant_id AND s.scheme = 'v1')
UNION ALL
SELECT s.tenant_id, s.secret_id, s.scheme, s.sealed, s.public_key, s.created_at, s.expires_at
FROM signing_secrets s
WHERE s.tenant_id = ANY(%(tenant_ids)s) AND (s.expires_at IS NULL OR s.expires_at > now())
ORDER BY created_at DESC, secret_id DESC;

-- name: lock_tenant
-- Two rotations take turns.
SELECT now() FROM tenants WHERE tenant_id = %(tenant_id)s FOR UPDATE;

-- name: expire_signing_keys
-- What signed so far signs on for a while.
UPDATE signing_secrets SET expires_at = least(expires_at, %(expires_at)s)
WHERE tenant_id = %(tenant_id)s AND scheme = %(scheme)s;

-- name: add_signing_key
INSERT INTO signing_secrets (secret_id, tenant_id, scheme, sealed, public_key, created_at, expires_at)
VALUES (%(secret_id)s, %(tenant_id)s, %(scheme)s, %(sealed)s, %(public_key)s, %(created_at)s, %(expires_at)s);

-- name: prune_signing_keys
DELETE FROM signing_secrets WHERE expires_at < now() - interval '1 day';

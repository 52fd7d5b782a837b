-- name: rights_of_client
-- What a token of a client of ours is worth now: nothing where the client is revoked.
SELECT c.tenant_id, t.suspended_at IS NOT NULL, {{policies_of_holder}}
FROM clients c JOIN tenants t ON t.tenant_id = c.tenant_id
CROSS JOIN LATERAL (SELECT c.tenant_id, 'clients/' || c.client_id AS name) AS holder
WHERE c.client_id = %(client_id)s AND c.revoked_at IS NULL;

-- name: rights_of_access_key
-- What a request signed with an access key is worth now: nothing where the key is revoked or has expired.
SELECT k.tenant_id, t.suspended_at IS NOT NULL, {{policies_of_holder}}, k.principal_id, k.sealed
FROM access_keys k JOIN tenants t ON t.tenant_id = k.tenant_id
CROSS JOIN LATERAL (SELECT k.tenant_id, 'principals/' || k.principal_id AS name) AS holder
WHERE k.access_key_id = %(access_key_id)s AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now());

-- name: rights_of_identity
-- Who a subject of a trusted issuer is in a tenant, by exact match.
SELECT p.tenant_id, t.suspended_at IS NOT NULL, {{policies_of_holder}}, p.principal_id
FROM principal_identities i JOIN principals p ON p.principal_id = i.principal_id
JOIN tenants t ON t.tenant_id = p.tenant_id
CROSS JOIN LATERAL (SELECT p.tenant_id, 'principals/' || p.principal_id AS name) AS holder
WHERE i.tenant_id = %(tenant_id)s AND i.issuer = %(issuer)s AND i.subject = %(subject)s AND i.audience = %(audience)s;

-- name: rights_of_tenant
-- A tenant by its name, for tokens whose claims name one.
SELECT t.tenant_id, t.suspended_at IS NOT NULL FROM tenants t WHERE t.name = %(name)s;

-- name: use_access_key
-- When a key was last used, to the minute: not every request is to write.
UPDATE access_keys SET last_used_at = now()
WHERE access_key_id = %(access_key_id)s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute');

-- name: create_principal
INSERT INTO principals (principal_id, tenant_id, name) VALUES (%(principal_id)s, %(tenant_id)s, %(name)s)
ON CONFLICT (tenant_id, name) DO NOTHING RETURNING created_at;

-- name: read_principals
-- One principal, or a page of them, latest first.
SELECT p.principal_id, p.name, p.created_at,
    coalesce((
        SELECT json_agg(json_build_object('issuer', i.issuer, 'subject', i.subject, 'audience', i.audience)
            ORDER BY i.issuer, i.subject, i.audience)
        FROM principal_identities i WHERE i.principal_id = p.principal_id
    ), '[]') AS identities,
    ARRAY(
        SELECT a.policy_name FROM policy_attachments a
        WHERE a.tenant_id = p.tenant_id AND a.holder = 'principals/' || p.principal_id ORDER BY a.policy_name
    ) AS policies
FROM principals p
WHERE p.tenant_id = %(tenant_id)s AND (%(principal_id)s::uuid IS NULL OR p.principal_id = %(principal_id)s::uuid)
  AND (%(before)s::uuid IS NULL OR p.principal_id < %(before)s::uuid)
ORDER BY p.principal_id DESC LIMIT %(limit)s::int;

-- name: lock_principal
-- Two that change what belongs to a principal take turns.
SELECT now() FROM principals WHERE tenant_id = %(tenant_id)s AND principal_id = %(principal_id)s FOR UPDATE;

-- name: delete_principal
DELETE FROM principals WHERE tenant_id = %(tenant_id)s AND principal_id = %(principal_id)s;

-- name: add_identity
INSERT INTO principal_identities (tenant_id, issuer, subject, audience, principal_id)
VALUES (%(tenant_id)s, %(issuer)s, %(subject)s, %(audience)s, %(principal_id)s) ON CONFLICT DO NOTHING;

-- name: create_access_key
INSERT INTO access_keys (access_key_id, principal_id, tenant_id, sealed, expires_at)
VALUES (%(access_key_id)s, %(principal_id)s, %(tenant_id)s, %(sealed)s, %(expires_at)s) RETURNING created_at;

-- name: count_active_keys
SELECT count(*) FROM access_keys
WHERE principal_id = %(principal_id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: read_access_keys
-- Every key of a principal, those that are revoked too: never their secrets.
SELECT k.access_key_id, k.created_at, k.expires_at, k.last_used_at, k.revoked_at
FROM access_keys k JOIN principals p ON p.principal_id = k.principal_id
WHERE p.tenant_id = %(tenant_id)s AND p.principal_id = %(principal_id)s
ORDER BY k.created_at DESC, k.access_key_id LIMIT 100;

-- name: revoke_access_key
UPDATE access_keys SET revoked_at = coalesce(revoked_at, now())
WHERE tenant_id = %(tenant_id)s AND principal_id = %(principal_id)s AND access_key_id = %(access_key_id)s;

-- name: put_policy
INSERT INTO policies AS p (tenant_id, name, document) VALUES (%(tenant_id)s, %(name)s, %(document)s)
ON CONFLICT (tenant_id, name) DO UPDATE SET
    document = excluded.document, updated_at = now(),
    version = p.version + (p.document IS DISTINCT FROM excluded.document)::int
RETURNING xmax = 0;

-- name: read_policies
-- One policy, or a page of them by name.
SELECT p.name, p.document, p.version, p.created_at, p.updated_at,
    ARRAY(
        SELECT a.holder FROM policy_attachments a
        WHERE a.tenant_id = p.tenant_id AND a.policy_name = p.name ORDER BY a.holder LIMIT 1000
    ) AS holders
FROM policies p
WHERE p.tenant_id = %(tenant_id)s AND (%(name)s::text IS NULL OR p.name = %(name)s::text)
  AND (%(after)s::text IS NULL OR p.name > %(after)s::text)
ORDER BY p.name LIMIT %(limit)s::int;

-- name: policies_of_holder
-- The policies of a holder, for a simulation.
SELECT {{policies_of_holder}}
FROM (SELECT %(tenant_id)s::uuid AS tenant_id, %(holder)s::text AS name) AS holder;

-- name: delete_policy
DELETE FROM policies p WHERE p.tenant_id = %(tenant_id)s AND p.name = %(name)s
  AND NOT EXISTS (SELECT FROM policy_attachments a WHERE a.tenant_id = p.tenant_id AND a.policy_name = p.name);

-- name: count_other_policies
-- How many policies a holder has beside one.
SELECT count(*) FROM policy_attachments
WHERE tenant_id = %(tenant_id)s AND holder = %(holder)s AND policy_name <> %(name)s;

-- name: attach_policy
-- Only to a holder that is there, of the same tenant.
INSERT INTO policy_attachments (tenant_id, holder, policy_name)
SELECT p.tenant_id, %(holder)s, p.name FROM policies p
WHERE p.tenant_id = %(tenant_id)s AND p.name = %(name)s
ON CONFLICT DO NOTHING;

-- name: detach_policy
DELETE FROM policy_attachments
WHERE tenant_id = %(tenant_id)s AND holder = %(holder)s AND policy_name = %(name)s;

-- name: detach_all
DELETE FROM policy_attachments WHERE tenant_id = %(tenant_id)s AND holder = %(holder)s;

-- name: holder_is_there
SELECT EXISTS (
    SELECT FROM principals p WHERE p.tenant_id = %(tenant_id)s AND 'principals/' || p.principal_id = %(holder)s
) OR EXISTS (
    SELECT FROM clients c
    WHERE c.tenant_id = %(tenant_id)s AND 'clients/' || c.client_id = %(holder)s AND c.revoked_at IS NULL
);

-- name: read_clients
-- One client, or a page of them: never the hash of a secret.
SELECT c.client_id, c.name, c.scopes, c.created_at, c.revoked_at,
    ARRAY(
        SELECT a.policy_name FROM policy_attachments a
        WHERE a.tenant_id = c.tenant_id AND a.holder = 'clients/' || c.client_id ORDER BY a.policy_name
    ) AS policies
FROM clients c
WHERE c.tenant_id = %(tenant_id)s AND (%(client_id)s::text IS NULL OR c.client_id = %(client_id)s::text)
  AND (%(after)s::text IS NULL OR c.client_id > %(after)s::text)
ORDER BY c.client_id LIMIT %(limit)s::int;

-- name: revoke_client
UPDATE clients SET revoked_at = coalesce(revoked_at, now())
WHERE tenant_id = %(tenant_id)s AND client_id = %(client_id)s;

-- name: rotate_client
UPDATE clients SET secret_hash = %(secret_hash)s
WHERE tenant_id = %(tenant_id)s AND client_id = %(client_id)s AND revoked_at IS NULL;

-- name: read_tenants
-- One tenant, or a page of them, latest first.
SELECT t.tenant_id, t.name, t.created_at, t.suspended_at, t.suspend_reason,
    t.max_jobs, t.creates_per_second, t.runs_per_second, t.max_payload_bytes
FROM tenants t
WHERE (%(tenant_id)s::uuid IS NULL OR t.tenant_id = %(tenant_id)s::uuid)
  AND (%(before)s::uuid IS NULL OR t.tenant_id < %(before)s::uuid)
ORDER BY t.tenant_id DESC LIMIT %(limit)s::int;

-- name: set_quotas
UPDATE tenants SET max_jobs = %(max_jobs)s, creates_per_second = %(creates_per_second)s,
    runs_per_second = %(runs_per_second)s, max_payload_bytes = %(max_payload_bytes)s
WHERE tenant_id = %(tenant_id)s;

-- name: count_usage
-- What a tenant's jobs that have not ended come to.
SELECT count(*), coalesce(sum(octet_length(j.job_payload)), 0)::bigint FROM jobs j
WHERE j.tenant_id = %(tenant_id)s AND j.state IN ('ACTIVE', 'PAUSED');

-- name: suspend_tenant
UPDATE tenants SET suspended_at = coalesce(suspended_at, now()), suspend_reason = %(reason)s WHERE tenant_id = %(tenant_id)s;

-- name: resume_tenant
UPDATE tenants SET suspended_at = NULL, suspend_reason = NULL WHERE tenant_id = %(tenant_id)s;

-- name: write_audit_log
-- A batch as one JSON document: of many narrow columns an array each costs three times as much on both sides.
INSERT INTO audit_log (
    entry_id, tenant_id, principal, key_id, source_ip, action, resource, status, request_id, before, after
)
SELECT entry_id, tenant_id, principal, key_id, source_ip, action, resource, status, request_id, before, after
FROM json_to_recordset(%(entries)s::json) AS e (
    entry_id uuid, tenant_id uuid, principal text, key_id text, source_ip inet, action text, resource text,
    status int2, request_id uuid, before text, after text
);

-- name: read_audit_log
-- A page of what was done in a tenant, latest first.
SELECT a.entry_id, a.at, a.principal, a.key_id, host(a.source_ip) AS source_ip, a.action, a.resource, a.status, a.request_id, a.before, a.after
FROM audit_log a
WHERE a.tenant_id = %(tenant_id)s
  AND (%(before)s::uuid IS NULL OR a.entry_id < %(before)s::uuid)
  AND (%(principal)s::text IS NULL OR a.principal = %(principal)s::text)
  AND (%(action)s::text IS NULL OR a.action = %(action)s::text)
  AND (%(resource)s::text IS NULL OR a.resource = %(resource)s::text)
  AND a.at >= coalesce(%(after_time)s::timestamptz, '-infinity') AND a.at < coalesce(%(before_time)s::timestamptz, 'infinity')
ORDER BY a.entry_id DESC LIMIT %(limit)s::int;

-- name: sealed_rows
-- Everything that is sealed under the operator's key, with what each secret is bound to.
SELECT 'tenant' AS kind, t.tenant_id::text AS id, 'tenant ' || t.tenant_id AS belongs_to, t.signing_secret AS sealed
FROM tenants t
UNION ALL
SELECT 'signing_secret', s.secret_id::text, 'signing key ' || s.secret_id, s.sealed FROM signing_secrets s
UNION ALL
SELECT 'secret', s.tenant_id || '/' || s.name, 'secret ' || s.name || ' of tenant ' || s.tenant_id, s.sealed FROM secrets s
UNION ALL
SELECT 'access_key', k.access_key_id, 'access key ' || k.access_key_id || ' of tenant ' || k.tenant_id, k.sealed
FROM access_keys k
UNION ALL
SELECT 'issuer_key', i.kid, 'issuer key ' || i.kid, i.private_key FROM issuer_keys i;

-- name: reseal_tenant
UPDATE tenants SET signing_secret = %(fresh)s WHERE tenant_id = %(id)s::uuid AND signing_secret = %(sealed)s;

-- name: reseal_signing_secret
UPDATE signing_secrets SET sealed = %(fresh)s WHERE secret_id = %(id)s::uuid AND sealed = %(sealed)s;

-- name: reseal_secret
UPDATE secrets SET sealed = %(fresh)s
WHERE tenant_id = split_part(%(id)s, '/', 1)::uuid AND name = split_part(%(id)s, '/', 2) AND sealed = %(sealed)s;

-- name: reseal_access_key
UPDATE access_keys SET sealed = %(fresh)s WHERE access_key_id = %(id)s AND sealed = %(sealed)s;

-- name: reseal_issuer_key
UPDATE issuer_keys SET private_key = %(fresh)s WHERE kid = %(id)s AND private_key = %(sealed)s;

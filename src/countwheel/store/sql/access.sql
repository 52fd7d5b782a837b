-- name: find_tenant
SELECT tenant_id FROM tenants WHERE name = %(name)s;

-- name: create_tenant
INSERT INTO tenants (tenant_id, name, signing_secret) VALUES (%(tenant_id)s, %(name)s, %(signing_secret)s)
ON CONFLICT (name) DO NOTHING;

-- name: find_client
SELECT client_id, tenant_id, secret_hash, scopes, name FROM clients
WHERE client_id = %(client_id)s AND revoked_at IS NULL;

-- name: create_client
INSERT INTO clients (client_id, tenant_id, name, secret_hash, scopes)
VALUES (%(client_id)s, %(tenant_id)s, %(name)s, %(secret_hash)s, %(scopes)s);

-- name: issuer_keys
SELECT kid, private_key, created_at FROM issuer_keys ORDER BY created_at, kid;

-- name: add_issuer_key
INSERT INTO issuer_keys (kid, private_key, created_at) VALUES (%(kid)s, %(private_key)s, %(created_at)s);

-- name: delete_issuer_keys
DELETE FROM issuer_keys WHERE kid = ANY(%(kids)s);

-- name: lock_issuer_keys
-- Two nodes that start on an empty database must not make two keys.
LOCK TABLE issuer_keys IN SHARE ROW EXCLUSIVE MODE;

-- name: has_admin
SELECT EXISTS (SELECT FROM clients WHERE revoked_at IS NULL AND 'admin' = ANY(scopes));

-- name: lock_clients
-- Two who make the first admin at the same time must not make two.
LOCK TABLE clients IN SHARE ROW EXCLUSIVE MODE;

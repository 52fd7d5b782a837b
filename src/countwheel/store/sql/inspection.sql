-- name: inspect_session
-- Who we are to the server, how we reached it, and what time it has. Over a Unix socket there is no address.
SELECT current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
    coalesce(NOT (inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1'), false),
    clock_timestamp();

-- name: inspect_deployment
-- What is in the tables that says how the deployment is run.
SELECT
    (SELECT coalesce(array_agg(DISTINCT version ORDER BY version), '{}') FROM nodes
        WHERE lost_at IS NULL AND stopped_at IS NULL AND lease_until > now()),
    (SELECT max(created_at) FROM issuer_keys),
    (SELECT count(*) FROM clients WHERE revoked_at IS NULL AND name = 'development'),
    EXISTS (SELECT FROM clients WHERE revoked_at IS NULL AND 'admin' = ANY(scopes));

-- name: session_settings
-- What this session is set to. (`current_setting` tells it in the units that it was set in, as far as they are whole.)
SELECT lower(name), current_setting(name) FROM pg_settings WHERE lower(name) = ANY(%(names)s::text[]);

-- name: find_stored_answers
-- What was answered before to these keys of an operation.
SELECT k.tenant_id, k.key, k.fingerprint, k.answer
FROM idempotency_keys k
JOIN unnest(%(tenant_ids)s::uuid[], %(keys)s::text[]) AS asked (tenant_id, key)
  ON k.tenant_id = asked.tenant_id AND k.key = asked.key
WHERE k.operation = %(operation)s;

-- name: keep_answer
-- The unique key decides who is first: whoever comes second waits for the first to commit, and inserts nothing.
INSERT INTO idempotency_keys (tenant_id, operation, key, fingerprint, job_id, answer)
VALUES (%(tenant_id)s, %(operation)s, %(key)s, %(fingerprint)s, %(job_id)s, %(answer)s)
ON CONFLICT DO NOTHING;

-- name: prune_keys
-- One bite of the keys, oldest first; all of one moment are in one bite, so that the next one begins after it.
-- Keys live while their job lives, and seven days at the least, by database time (criterion I9).
WITH bite AS MATERIALIZED (
    SELECT k.ctid AS place, k.created_at, k.job_id FROM idempotency_keys k
    WHERE k.created_at > %(after)s AND k.created_at < now() - interval '7 days'
    ORDER BY k.created_at FETCH FIRST (%(many)s::int) ROWS WITH TIES
),
gone AS (
    DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
        SELECT b.place FROM bite b
        WHERE (SELECT j.state IN ('ACTIVE', 'PAUSED') FROM jobs j WHERE j.job_id = b.job_id) IS NOT TRUE -- see prune_jobs
    ))
    RETURNING key
)
SELECT (SELECT count(*) FROM gone), CASE WHEN count(*) >= %(many)s::int THEN max(created_at) END FROM bite;

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
-- Keys live while their job lives, and seven days at the least, by database time (criterion I9).
DELETE FROM idempotency_keys WHERE ctid IN (
    SELECT k.ctid FROM idempotency_keys k
    WHERE k.created_at < now() - interval '7 days'
      AND NOT EXISTS (SELECT FROM jobs j WHERE j.job_id = k.job_id AND j.state IN ('ACTIVE', 'PAUSED'))
    LIMIT 5000
);

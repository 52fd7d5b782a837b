-- Work that takes longer than its call: a target takes a run over (202) and says later how it went.
-- Every step expands: the release before runs on this schema.

-- While a target works its run has the reserved holder 'target': it is no node's, so neither claims nor recovery touch it.
ALTER TABLE runs
    ADD COLUMN accepted_at       timestamptz, -- since when it is the target's
    ADD COLUMN deadline_at       timestamptz, -- by when the target has said how it went
    ADD COLUMN heartbeat_seconds double precision, -- how long the target may be silent, as its job said when it took the run
    ADD COLUMN heartbeat_at      timestamptz, -- its last word meanwhile
    ADD COLUMN progress          text CHECK (length(progress) <= 200),
    ADD COLUMN overdue_at        timestamptz, -- when to look after it: its deadline, or its next heartbeat
    ADD COLUMN sent_by           text,        -- the node that made the call
    ADD CONSTRAINT accepted_is_the_targets CHECK ((accepted_at IS NOT NULL) = (coalesce(node_id, '') = 'target')),
    ADD CONSTRAINT accepted_is_running CHECK (accepted_at IS NULL OR state = 'RUNNING'),
    ADD CONSTRAINT accepted_is_looked_after CHECK (
        (accepted_at IS NULL) = (overdue_at IS NULL) AND (accepted_at IS NULL) = (deadline_at IS NULL)
        AND (accepted_at IS NULL) = (sent_by IS NULL)
    );
-- Whom to look after: empty but for accepted runs.
CREATE INDEX runs_overdue ON runs (overdue_at) WHERE overdue_at IS NOT NULL;
ALTER TABLE nodes ADD CONSTRAINT target_is_no_node CHECK (node_id <> 'target');

-- What the target said at the end, word for word: the same completion again gets the same answer.
ALTER TABLE run_history
    ADD COLUMN accepted_at timestamptz,
    ADD COLUMN completion  text CHECK (octet_length(completion) <= 81920),
    DROP CONSTRAINT success_is_a_2xx,
    ADD CONSTRAINT success_is_a_2xx CHECK (
        status <> 'SUCCEEDED' OR completion IS NOT NULL
        OR (http_status IS NOT NULL AND http_status BETWEEN 200 AND 299)
    );

"""The queries of `sql/*.sql`, by name.

A file holds blocks that begin with `-- name: x`. `{{fragment}}` stands for a text that several queries share, or for a
literal size (see `claim`). Comments stay in the files; what is sent carries its name, for logs and
pg_stat_statements.
"""

import re
from functools import cache
from importlib import resources
from typing import LiteralString, cast

_BLOCK = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"--[^\n]*")
_BLANKS = re.compile(r"\s+")

_FRAGMENTS = {
    "take_picked": """
        UPDATE runs r SET state = 'CLAIMED', node_id = %(node_id)s, fence = r.fence + 1, attempt = r.attempt + 1,
            -- What waits looks again now and then: it is claimed for that, and waits on as long as there is a reason.
            waiting = r.waiting AND {{earlier_is_live}}
        FROM picked p JOIN jobs j ON j.job_id = p.job_id
            LEFT JOIN notification_defaults d ON d.tenant_id = j.tenant_id
        -- Where this statement has just locked it: 15 buffers a run instead of 22 by its key (decision 0030). A version
        -- that is newer than the statement's snapshot is not found, and is claimed by the next one.
        WHERE r.ctid = p.place
        RETURNING
            r.job_id, r.run_id, r.tenant_id, r.trigger, r.scheduled_for, r.due_at, r.attempt, r.lost_attempts, r.fence,
            r.started_at,
            CASE WHEN r.cancel_requested_at IS NOT NULL THEN coalesce(r.cancel_reason, 'cancelled by request') END,
            r.overlap,
            coalesce(r.call_url, j.job_url), coalesce(r.call_body, j.job_payload), r.call_method,
            CASE WHEN r.call_url IS NULL THEN j.calling END, -- an errand has nothing of its job's: no header, no secret
            j.timeout_seconds, j.max_attempts,
            j.schedule_recurring, j.timezone, j.terms, j.state,
            CASE WHEN r.call_url IS NULL THEN j.delivery ELSE 'at_least_once' END,
            CASE WHEN r.call_url IS NULL THEN j.on_unknown ELSE 'retry' END, j.runs_begun,
            -- Is an earlier run of the same job still live? Asked for recurring jobs only; the dispatcher asks again.
            j.schedule_recurring IS NOT NULL AND r.call_url IS NULL AND {{earlier_is_live}},
            clock_timestamp(),
            -- Was the job changed after this statement's snapshot? Its lock on the run came later, so the run says.
            r.job_version > j.version,
            r.attempts_before, d.on_failure, d.on_success,
            EXISTS (SELECT FROM tenants t WHERE t.tenant_id = r.tenant_id AND t.suspended_at IS NOT NULL)
    """,
    "earlier_is_live": """
        EXISTS (
            SELECT FROM runs earlier WHERE earlier.job_id = r.job_id AND earlier.run_id < r.run_id
                AND (earlier.trigger = 'backfill') = (r.trigger = 'backfill') AND earlier.call_url IS NULL
                -- A redriven one that nobody holds may be due much later: only its like wait for it.
                AND (earlier.attempts_before IS NULL OR earlier.node_id IS NOT NULL OR r.attempts_before IS NOT NULL)
        )
    """,
    "live_runs_of_job": """
        SELECT {{locked_columns}} FROM runs r
        WHERE r.tenant_id = %(tenant_id)s AND r.job_id = %(job_id)s AND r.call_url IS NULL
        ORDER BY r.run_id
    """,
    # What a cancel must know of a run.
    "locked_columns": """
        r.job_id, r.run_id, r.tenant_id, r.scheduled_for, r.node_id, r.fence, r.trigger, r.attempt, r.started_at,
        r.accepted_at, r.attempts_before, (SELECT j.calling FROM jobs j WHERE j.job_id = r.job_id), now()
    """,
    # What is asked of a run of which a target says, or should have said, how it went.
    "long_columns": """
        r.job_id, r.run_id, r.tenant_id, r.trigger, r.state, r.scheduled_for, r.attempt, r.lost_attempts,
        coalesce(r.attempts_before, 0), r.fence, r.started_at, r.accepted_at, r.deadline_at, r.heartbeat_seconds,
        coalesce(r.sent_by, r.node_id) AS sent_by,
        CASE WHEN r.cancel_requested_at IS NOT NULL THEN coalesce(r.cancel_reason, 'cancelled by request') END,
        j.job_url, r.call_method, j.calling, j.max_attempts, j.delivery, j.on_unknown, j.schedule_recurring, j.timezone,
        j.terms, j.runs_begun, d.on_failure, d.on_success, clock_timestamp()
    """,
    "job_columns": """
        j.job_id, j.state, j.schedule_recurring, j.schedule_oneoff, j.timezone, j.terms, j.calling, j.job_url,
        j.job_payload, j.name, j.labels, j.timeout_seconds, j.max_attempts, j.created_at, j.updated_at, j.deleted_at,
        j.version, j.delivery, j.on_unknown, j.pause_reason, j.paused_at, n.run_id, n.scheduled_for, n.state
    """,
    # What listings and bulk operations are narrowed to. Text is looked for in the tenant's jobs one by one.
    "job_filter": """
        j.tenant_id = %(tenant_id)s
        AND (%(show_deleted)s::boolean OR j.state <> 'DELETED')
        AND (%(status)s::text IS NULL OR j.state = %(status)s::text)
        AND (%(target)s::text IS NULL OR j.target_host = %(target)s::text)
        AND (%(name)s::text IS NULL OR j.name = %(name)s::text)
        AND j.labels @> ALL (%(labels)s::jsonb[])
        AND (%(created_after)s::timestamptz IS NULL OR j.created_at >= %(created_after)s::timestamptz)
        AND (%(created_before)s::timestamptz IS NULL OR j.created_at < %(created_before)s::timestamptz)
        AND (%(text)s::text IS NULL OR position(
            lower(%(text)s::text) IN lower(concat_ws(' ', j.name, j.job_url, j.labels::text, j.schedule_recurring))
        ) > 0)
    """,
    # Where a listing of jobs walks: in the order of an index, which has what is narrowed to here and nothing else.
    "job_place": """
        j.tenant_id = %(tenant_id)s AND (%(before)s::uuid IS NULL OR j.job_id < %(before)s::uuid)
        AND (%(name)s::text IS NULL OR j.name = %(name)s::text)
        AND (%(status)s::text IS DISTINCT FROM 'PAUSED' OR j.paused_at IS NOT NULL)
        AND (%(status)s::text IS DISTINCT FROM 'DELETED' OR j.deleted_at IS NOT NULL)
    """,
    "next_run": """
        SELECT r.run_id, r.scheduled_for, r.state FROM runs r WHERE r.job_id = j.job_id AND r.call_url IS NULL
        ORDER BY r.run_id DESC LIMIT 1
    """,
    "live_columns": """
        r.run_id, r.job_id, r.state AS status, r.scheduled_for, nullif(r.due_at, {{never}}) AS due_at, r.started_at,
        NULL::timestamptz AS finished_at, r.attempt, NULL::smallint AS http_status, r.error, r.trigger,
        nullif(r.node_id, 'target') AS node_id,
        NULL::timestamptz AS deleted_at, 1 AS occurrences, NULL::timestamptz AS superseded_by,
        NULL::text AS resolution, NULL::timestamptz AS resolved_at, NULL::text AS resolved_by,
        NULL::text AS resolution_note, r.fence, r.waiting, NULL::text AS trace, NULL::text AS error_class,
        CASE WHEN r.node_id IS NULL THEN r.lane END AS lane, NULL::text AS fingerprint,
        r.accepted_at, r.deadline_at, r.heartbeat_at, r.progress
    """,
    "ended_columns": """
        h.run_id, h.job_id, h.status, h.scheduled_for, h.due_at, h.started_at,
        h.finished_at, h.attempt, h.http_status, h.error, h.trigger, h.node_id,
        h.deleted_at, h.occurrences, h.superseded_by,
        h.resolution, h.resolved_at, h.resolved_by, h.resolution_note, h.fence, false AS waiting, h.trace,
        h.error_class, NULL::text AS lane, h.fingerprint,
        h.accepted_at, NULL::timestamptz AS deadline_at, NULL::timestamptz AS heartbeat_at, NULL::text AS progress
    """,
    # All that is known of a target, in the order of store/targets.py.
    "target_columns": """
        t.tenant_id, t.name, t.max_concurrency, t.rate_per_second, t.burst, t.breaker, t.paused_at, t.pause_reason,
        t.next_slot_at, t.opened_at, t.open_until, t.openings, t.probes, t.probed_at, t.open_reason,
        t.slowed_rate, t.slowed_from, t.slowed_at, clock_timestamp()
    """,
    # Of so many other targets at the most a person has said something. What is about to be forgotten counts, too.
    "has_room": """
        (
            SELECT count(*) FROM targets t
            WHERE t.tenant_id = %(tenant_id)s AND t.name <> %(name)s AND NOT ({{is_found_alone}})
        ) < %(most)s::int
    """,
    # Of a target: no person has said anything of it, only the engine has found something out.
    "is_found_alone": """
        num_nonnulls(t.max_concurrency, t.rate_per_second, t.breaker, t.paused_at) = 0
        AND num_nonnulls(t.opened_at, t.slowed_at) > 0
    """,
    # Where a listing of live runs walks, those that nobody holds: in the order of an index.
    "live_place": """
        r.tenant_id = %(tenant_id)s AND r.node_id IS NULL
        -- Those that were tried, in lanes or not, by their own index: no other is to be good for them.
        AND CASE WHEN %(tried)s::boolean THEN r.attempt > 0 ELSE r.set_aside = %(set_aside)s::boolean END
        AND (%(job_id)s::uuid IS NULL OR r.job_id = %(job_id)s::uuid)
        AND (r.due_at, r.run_id) < (%(before)s::timestamptz, %(before_id)s::uuid)
    """,
    # What listings of runs over all jobs are narrowed to, beside status and time. What is asked of the job is asked run
    # by run, by its key: no plan is to read all jobs (as for EXISTS it would, for a hash of them); and where nothing is
    # asked, nothing is left of the condition.
    "live_filter": """
        r.tenant_id = %(tenant_id)s AND r.state = ANY(%(statuses)s::text[])
        AND (%(job_id)s::uuid IS NULL OR r.job_id = %(job_id)s::uuid)
        AND (%(trigger)s::text IS NULL OR r.trigger = %(trigger)s::text)
        AND (%(target)s::text IS NULL OR (r.call_url IS NULL AND (
            SELECT j.target_host = %(target)s::text FROM jobs j WHERE j.job_id = r.job_id
        )))
        AND (cardinality(%(labels)s::jsonb[]) = 0 OR (
            SELECT j.labels @> ALL (%(labels)s::jsonb[]) FROM jobs j WHERE j.job_id = r.job_id
        ))
    """,
    "ended_narrowed": """
        {{ended_alone}}
        AND (%(target)s::text IS NULL OR h.target = %(target)s::text OR (h.target IS NULL AND (
            SELECT j.target_host = %(target)s::text FROM jobs j WHERE j.job_id = h.job_id
        )))
        AND (cardinality(%(labels)s::jsonb[]) = 0 OR (
            SELECT j.labels @> ALL (%(labels)s::jsonb[]) FROM jobs j WHERE j.job_id = h.job_id
        ))
        AND h.finished_at >= %(since)s AND h.finished_at <= %(before)s
        AND (h.finished_at, h.run_id) < (%(before)s, %(before_id)s::uuid)
    """,
    # A dead letter that nobody has taken back yet, of a job that may be called.
    "dead_letter": """
        h.status = asked.status AND h.status <> 'SUCCEEDED' AND {{ended_filter}}
        AND h.resolution IS NULL AND j.state NOT IN ('PAUSED', 'DELETED')
        AND h.finished_at < %(horizon)s
    """,
    "ended_filter": """
        {{ended_alone}}
        AND (%(target)s::text IS NULL OR coalesce(h.target, j.target_host) = %(target)s::text)
        AND j.labels @> ALL (%(labels)s::jsonb[])
    """,
    # What an ended run is narrowed to that it tells by itself. After those that name it.
    "ended_alone": """
        h.tenant_id = %(tenant_id)s AND h.resolution IS DISTINCT FROM 'RETRIED'
        AND (%(show_deleted)s::boolean OR h.deleted_at IS NULL)
        AND (%(job_id)s::uuid IS NULL OR h.job_id = %(job_id)s::uuid)
        AND (%(trigger)s::text IS NULL OR h.trigger = %(trigger)s::text)
        AND (%(fingerprint)s::text IS NULL OR h.fingerprint = %(fingerprint)s::text)
        AND (%(error_class)s::text IS NULL OR h.error_class = %(error_class)s::text)
        AND h.finished_at >= %(finished_after)s AND h.finished_at < %(finished_before)s
    """,
    # The policies of a holder of rights, as names with documents.
    "policies_of_holder": """
        coalesce((
            SELECT json_agg(json_build_array(p.name, p.document) ORDER BY p.name)
            FROM policy_attachments a
            JOIN policies p ON p.tenant_id = a.tenant_id AND p.name = a.policy_name
            WHERE a.tenant_id = holder.tenant_id AND a.holder = holder.name
        ), '[]')
    """,
    # How long a statement has taken, by the server's own clock: asked for behind an aggregate, which comes at the end.
    "took_seconds": "extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.statement_timestamp())::float8",
    # When the next occurrence of a paused job is due: later than anything.
    "never": "timestamptz '9999-12-31T00:00:00Z'",
}


@cache
def _blocks() -> dict[str, str]:
    found: dict[str, str] = {}
    for file in sorted((resources.files(__package__) / "sql").iterdir(), key=lambda entry: entry.name):
        _, *parts = _BLOCK.split(file.read_text(encoding="utf-8"))
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in found:
                raise ValueError(f"two queries are called {name}")
            found[name] = text
    return found


@cache
def query(name: str, **literals: int) -> LiteralString:
    """Return the query called `name`, ready to execute.

    `literals` are whole numbers that must stand in the text itself. Raises `KeyError` for an unknown name.
    """
    text = _blocks()[name]
    for fragment, body in _FRAGMENTS.items():
        text = text.replace("{{" + fragment + "}}", body)
    text = _COMMENT.sub("", text)
    for literal, value in literals.items():
        text = text.replace("{{" + literal + "}}", str(int(value)))
    text = _BLANKS.sub(" ", text).strip().removesuffix(";")
    if "{{" in text:
        raise ValueError(f"query {name} has an unfilled place: {text}")
    return cast("LiteralString", f"/* countwheel.{name} */ {text}")  # type: ignore[redundant-cast] # from our own files

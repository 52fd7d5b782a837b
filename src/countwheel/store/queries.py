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
            waiting = false
        FROM picked p JOIN jobs j ON j.job_id = p.job_id
        WHERE r.job_id = p.job_id AND r.run_id = p.run_id
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
            j.schedule_recurring IS NOT NULL AND EXISTS (
                SELECT FROM runs earlier WHERE earlier.job_id = r.job_id AND earlier.run_id < r.run_id
                    AND (earlier.trigger = 'backfill') = (r.trigger = 'backfill') AND earlier.call_url IS NULL
            ) AND r.call_url IS NULL,
            clock_timestamp(),
            -- Was the job changed after this statement's snapshot? Its lock on the run came later, so the run says.
            r.job_version > j.version
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
    "next_run": """
        SELECT r.run_id, r.scheduled_for, r.state FROM runs r WHERE r.job_id = j.job_id AND r.call_url IS NULL
        ORDER BY r.run_id DESC LIMIT 1
    """,
    "live_columns": """
        r.run_id, r.job_id, r.state AS status, r.scheduled_for, nullif(r.due_at, {{never}}) AS due_at, r.started_at,
        NULL::timestamptz AS finished_at, r.attempt, NULL::smallint AS http_status, r.error, r.trigger, r.node_id,
        NULL::timestamptz AS deleted_at, 1 AS occurrences, NULL::timestamptz AS superseded_by,
        NULL::text AS resolution, NULL::timestamptz AS resolved_at, NULL::text AS resolved_by,
        NULL::text AS resolution_note, r.fence, r.waiting, NULL::text AS trace, NULL::text AS error_class,
        CASE WHEN r.node_id IS NULL THEN r.lane END AS lane
    """,
    "ended_columns": """
        h.run_id, h.job_id, h.status, h.scheduled_for, h.due_at, h.started_at,
        h.finished_at, h.attempt, h.http_status, h.error, h.trigger, h.node_id,
        h.deleted_at, h.occurrences, h.superseded_by,
        h.resolution, h.resolved_at, h.resolved_by, h.resolution_note, h.fence, false AS waiting, h.trace,
        h.error_class, NULL::text AS lane
    """,
    # All that is known of a target, in the order of store/targets.py.
    "target_columns": """
        t.tenant_id, t.name, t.max_concurrency, t.rate_per_second, t.burst, t.breaker, t.paused_at, t.pause_reason,
        t.next_slot_at, t.opened_at, t.open_until, t.openings, t.probes, t.probed_at, t.open_reason,
        t.slowed_rate, t.slowed_from, t.slowed_at, clock_timestamp()
    """,
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

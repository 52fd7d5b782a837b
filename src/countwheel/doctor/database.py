"""What of the database is unsafe: pure, on what was seen of it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from countwheel.auth.keys import ROTATE_AFTER
from countwheel.doctor.finding import Finding, doubtful, good, unsafe
from countwheel.store.durability import DatabaseWarning
from countwheel.store.inspection import Deployment, Session

_WARNINGS_ONLY = frozenset({"asynchronous-standby", "old-transaction"})
_CLOCK_LIMIT = timedelta(seconds=1)
_CLOCK_UNSAFE = timedelta(seconds=60)


def judge_session(session: Session, now: datetime, *, development: bool) -> Iterator[Finding]:
    """Tell what of our own connection is unsafe. `now` is this machine's time at the moment of the session's."""
    if session.is_superuser and not development:
        why = "whoever gets at our connection can read the server's files and run programs on its machine"
        remedy = "give COUNTWHEEL_DATABASE_URL a role that owns its database and is no superuser"
        yield unsafe("database-role", f"{session.role} is a superuser", why, remedy)
    else:
        yield good("database-role", session.role)
    if session.is_remote and not session.uses_tls:
        why = "passwords and payloads cross the network in clear"
        remedy = "turn ssl on in PostgreSQL, and set sslmode=verify-full in COUNTWHEEL_DATABASE_URL"
        yield unsafe("database-tls", "this connection has no TLS", why, remedy)
    else:
        yield good("database-tls", "in use" if session.uses_tls else "not needed: it is this machine's own")
    yield _of_clock(abs(session.now - now))


def judge_durability(warnings: Sequence[DatabaseWarning]) -> Iterator[Finding]:
    """Tell what of the server's settings can lose what was acknowledged."""
    for warning in warnings:
        seen, _, rest = warning.detail.partition(": ")
        why, _, remedy = rest.rpartition("; ")
        yield (doubtful if warning.code in _WARNINGS_ONLY else unsafe)(warning.code, seen, why, remedy)
    if not warnings:
        yield good("durability", "what is acknowledged is on disk")


def judge_pooled(others: Mapping[str, str]) -> Finding:
    """Tell whether the sessions that a pooler lends are set as ours are to be. `others` are those that are not."""
    if not others:
        return good("session-settings", "the pooler's sessions are set as ours are")
    seen = ", ".join(f"{name} is {value}" for name, value in sorted(others.items()))
    why = "a statement may hang for ever, or a batch be looked for in the whole of a table"
    return doubtful("session-settings", seen, why, "run `countwheel db migrate`, then let the pooler connect anew")


def judge_schema(missing: Sequence[int]) -> Finding:
    """Tell whether the schema is this release's."""
    if not missing:
        return good("schema", "up to date")
    seen = f"it lacks migration {', '.join(map(str, missing))}"
    return unsafe("schema", seen, "nodes of this release do not start on it", "run `countwheel db migrate`")


def judge_deployment(seen: Deployment, now: datetime, *, version: str, development: bool) -> Iterator[Finding]:
    """Tell what of the deployment itself is unsafe. `version` is this program's."""
    versions = sorted({*seen.node_versions, version})
    if len(versions) > 1:
        why = "releases side by side are meant for the time of an upgrade, and no longer"
        yield doubtful("node-versions", ", ".join(versions), why, "bring every node, and this program, to one release")
    else:
        yield good("node-versions", ", ".join(versions))
    yield _of_keys(seen.newest_issuer_key_at, now)
    if development:
        return
    if seen.development_clients:
        why = "its secret, with every right, lies in the data directory of a `countwheel dev`"
        yield unsafe("development-client", f"{seen.development_clients}", why, "revoke the client called development")
    if not seen.has_admin:
        why = "nobody can make clients or revoke them"
        yield doubtful("admin", "there is none", why, "run `countwheel admin bootstrap`")


def _of_clock(difference: timedelta) -> Finding:
    seen = f"{difference / timedelta(milliseconds=1):.0f} ms apart from this machine's"
    why = "runs are late by that, and tokens are taken for expired or not yet good"
    if difference <= _CLOCK_LIMIT:
        return good("clock", seen)
    if difference <= _CLOCK_UNSAFE:
        return doubtful("clock", seen, why, "keep both by NTP")
    return unsafe("clock", seen, why, "keep both by NTP")


def _of_keys(newest: datetime | None, now: datetime) -> Finding:
    if newest is None:
        return good("issuer-keys", "none yet: the first node makes one")
    age = now - newest
    seen = f"the newest is {age.days} days old"
    if age <= ROTATE_AFTER:
        return good("issuer-keys", seen)
    why = f"a key that leaks is good until it is exchanged; {ROTATE_AFTER.days} days are its time"
    return doubtful("issuer-keys", seen, why, "start a node again: it makes a new key")

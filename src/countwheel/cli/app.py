"""`countwheel`: the commands."""

import sys
from typing import Annotated

from cyclopts import App, Parameter

from countwheel import __version__

# The helps are plain text: to look for Markdown in them costs 50 ms.
app = App(name="countwheel", help="A distributed job scheduler.", version=__version__, help_format="plaintext")
_ROLES = "api,engine"

db = App(name="db", help="The database schema.")
app.command(db)

admin = App(name="admin", help="Who may administer a deployment.")
app.command(admin)

cron = App(name="cron", help="What a schedule means. Needs no server.")
app.command(cron)


def main() -> None:
    """Run the command that was asked for."""
    app()


@app.command
def dev(
    *, demo: Annotated[bool, Parameter(help="Schedule a call to the server's own echo every 10 s.")] = False
) -> None:
    """Start a server with its own PostgreSQL, for development: http://127.0.0.1:8080, loopback targets allowed."""
    from countwheel import main as composition  # noqa: PLC0415 (quick --help)

    sys.exit(composition.run_dev(demo=demo))


@app.command
def serve(
    *,
    role: Annotated[str, Parameter(help="What the node does: api, engine, or both with a comma between.")] = _ROLES,
    workers: Annotated[int, Parameter(help="How many nodes: processes on one port, started again if they die.")] = 1,
) -> None:
    """Start a node, or several, on the PostgreSQL of COUNTWHEEL_DATABASE_URL."""
    from countwheel import main as composition  # noqa: PLC0415 (quick --help)

    roles = [part.strip() for part in role.split(",") if part.strip()]
    sys.exit(composition.run_serve(roles=roles, workers=workers))


@app.command
def audit(
    *,
    from_: Annotated[str | None, Parameter(name="--from", help="Begin here (RFC 3339, or a date); a day ago.")] = None,
    to: Annotated[str | None, Parameter(help="End here; now.")] = None,
    job: Annotated[str | None, Parameter(help="Only this job; all of them.")] = None,
    late_ms: Annotated[float, Parameter(help="What counts as late.")] = 1000.0,
    verbose: Annotated[bool, Parameter(help="Print everything that did not simply run.")] = False,
) -> None:
    """Compare what should have been with what is on record. Exit code 0 only if nothing is missing or doubled.

    Reads the database of COUNTWHEEL_DATABASE_URL, or of the `countwheel dev` that runs on COUNTWHEEL_DATA_DIR.
    """
    from countwheel import main as composition  # noqa: PLC0415 (quick --help)
    from countwheel.cli.audit import BadOptionError, Report, read_instant, read_job  # noqa: PLC0415 (quick --help)

    try:
        start = read_instant("--from", from_) if from_ is not None else None
        end = read_instant("--to", to) if to is not None else None
        job_id = read_job(job) if job is not None else None
    except BadOptionError as error:
        print(f"countwheel: {error}", file=sys.stderr)  # noqa: T201 (the terminal is where this belongs)
        sys.exit(2)
    sys.exit(
        composition.run_audit(start=start, end=end, job_id=job_id, late_ms=late_ms, report=Report(verbose=verbose))
    )


@app.command
def doctor(
    *, json: Annotated[bool, Parameter(negative="", help="Print the findings as JSON, for machines.")] = False
) -> None:
    """Say what of a deployment is unsafe, and what to set. Exit code 0: nothing, 1: something, 2: it cannot be told.

    Looks at the settings in its environment, and at the database of COUNTWHEEL_DATABASE_URL or of the `countwheel dev`
    that runs on COUNTWHEEL_DATA_DIR. It prints no secret, and changes nothing.
    """
    from countwheel import main as composition  # noqa: PLC0415 (quick --help)
    from countwheel.cli.doctor import Report  # noqa: PLC0415 (quick --help)

    sys.exit(composition.run_doctor(Report(as_json=json)))


@app.command
def token(
    *, scope: Annotated[str | None, Parameter(help="Scopes, with spaces between; all by default.")] = None
) -> None:
    """Print an access token for the local server on standard output, and nothing else."""
    from countwheel.cli.token import print_token  # noqa: PLC0415 (quick --help)

    sys.exit(print_token(scope))


@cron.command
def explain(expression: str, *, timezone: str | None = None) -> None:
    """Say in words what a cron expression means, and what in it is probably not meant."""
    from countwheel.cli.cron import print_meaning  # noqa: PLC0415 (quick --help)

    sys.exit(print_meaning(expression, timezone))


@cron.command(name="next")
def next_(
    expression: str,
    *,
    timezone: Annotated[str | None, Parameter(help="The place whose clock counts; UTC.")] = None,
    count: Annotated[int, Parameter(help="How many.")] = 10,
    from_: Annotated[str | None, Parameter(name="--from", help="After this (RFC 3339, or a date); now.")] = None,
    display_timezone: Annotated[str | None, Parameter(help="Your own place; this machine's.")] = None,
) -> None:
    """Print when a cron expression fires next, and what the clock changes in between do to it.

    Three columns: by the clock of its place, by your own, in UTC.
    """
    from countwheel.cli.cron import print_next  # noqa: PLC0415 (quick --help)

    sys.exit(print_next(expression, timezone, count=count, start=from_, display=display_timezone))


@admin.command
def bootstrap(
    *, force: Annotated[bool, Parameter(negative="", help="Make another one, though there is an admin.")] = False
) -> None:
    """Make the first admin of the deployment on COUNTWHEEL_DATABASE_URL, and print its id and its secret, once."""
    from countwheel import main as composition  # noqa: PLC0415 (quick --help)

    sys.exit(composition.run_bootstrap(force=force))


@admin.command
def reseal() -> None:
    """Seal stored secrets under COUNTWHEEL_SECRET_KEY; COUNTWHEEL_PREVIOUS_SECRET_KEYS open them. Safe to repeat."""
    from countwheel import main as composition  # noqa: PLC0415 (quick --help)

    sys.exit(composition.run_reseal())


@db.command
def migrate() -> None:
    """Bring the schema of COUNTWHEEL_DATABASE_URL up to date. Safe to repeat, and on several nodes at once."""
    from countwheel import main as composition  # noqa: PLC0415 (quick --help)

    sys.exit(composition.run_migrate())


@db.command
def status() -> None:
    """Show which migrations the schema has. Exit code 0 if it is up to date, 1 if not."""
    from countwheel import main as composition  # noqa: PLC0415 (quick --help)

    sys.exit(composition.run_status())

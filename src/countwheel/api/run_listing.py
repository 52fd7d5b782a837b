"""`GET /v1/runs`: the runs of all jobs, latest first: by when they ended, or are due."""

from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from countwheel.api import views
from countwheel.api.answers import json_answer, next_link
from countwheel.api.paging import Page, not_a_token
from countwheel.api.parameters import Parameters
from countwheel.api.parts import ApiParts
from countwheel.auth.principal import Principal
from countwheel.domain import ids
from countwheel.domain.run import RunStatus, Trigger
from countwheel.store import listing
from countwheel.store.listing import Before, EndedFilter

FILTERS = (
    *("status", "job_id", "target", "trigger", "label", "fingerprint", "error_class"),
    *("finished_after", "finished_before", "show_deleted"),
)


async def list_all_runs(api: ApiParts, request: Request, principal: Principal) -> Response:
    """Every run that fits, live ones too. A page may be shorter than asked for, or empty, and still lead on."""
    parameters = Parameters(request, *FILTERS, "page_size", "page_token", repeatable=("status", "label"))
    statuses = frozenset(map(RunStatus, parameters.shaped("status", api.contract, "RunStatus"))) or frozenset(RunStatus)
    narrow = EndedFilter(
        job_id=next(map(UUID, parameters.shaped("job_id", api.contract, "Id")), None),
        target=next(iter(parameters.shaped("target", api.contract, "TargetFilter")), None),
        trigger=parameters.choice("trigger", Trigger),
        fingerprint=next(iter(parameters.shaped("fingerprint", api.contract, "Fingerprint")), None),
        error_class=next(iter(parameters.shaped("error_class", api.contract, "ErrorClass")), None),
        labels=[label.partition(":")[::2] for label in parameters.shaped("label", api.contract, "LabelFilter")],
        finished_after=parameters.instant("finished_after"),
        finished_before=parameters.instant("finished_before"),
        show_deleted=parameters.switch("show_deleted"),
    )
    page = parameters.page()
    async with api.database.connection() as connection:
        found = await listing.find_page(
            connection,
            principal.tenant_id,
            statuses,
            narrow,
            before=_before(page),
            limit=page.size + 1,
            monotonic=api.clock.monotonic,
        )
    shown = found.runs[: page.size]
    goes_on = shown[-1].place if len(found.runs) > page.size else found.stopped_at
    token = "" if goes_on is None else page.token_after(f"{ids.microseconds_of(goes_on.moment)}_{goes_on.run_id}")
    content = {"items": [views.run(listed.row) for listed in shown], "next_page_token": token}
    return json_answer(content, 200, next_link(request, token))


def _before(page: Page) -> Before:
    """Return where the page begins. Raises the 400 problem for a token that is none of ours."""
    if page.last is None:
        return Before()
    try:
        moment, run_id = page.last.split("_")
        return Before(ids.instant_of_microseconds(int(moment)), UUID(run_id))
    except (ValueError, OverflowError) as error:
        raise not_a_token() from error

"""What a body names that is kept elsewhere: calendars and secrets of the tenant. Most bodies name nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from countwheel.api.parts import ApiParts
from countwheel.domain.calling import secret_places
from countwheel.domain.errors import Fault
from countwheel.domain.terms import NO_CALENDARS, Calendars, named_calendars
from countwheel.store import secrets
from countwheel.store.calendars import find_calendars
from countwheel.store.database import Connection


@dataclass(frozen=True, slots=True)
class Named:
    """The calendars that there are, and a fault for each place that names a secret which is not there."""

    calendars: Calendars
    faults: Sequence[Fault]


_NOTHING = Named(NO_CALENDARS, ())


async def find_named(connection: Connection, tenant_id: UUID, body: object) -> Named:
    """Return what a body names, whatever else is wrong with it."""
    calendars = await find_calendars(connection, tenant_id, named_calendars(body))
    places = secret_places(body)
    missing = await secrets.find_missing(connection, tenant_id, {name for _, name in places}) if places else ()
    return Named(calendars, [Fault(pointer, _no_secret(name)) for pointer, name in places if name in missing])


async def named_by(api: ApiParts, tenant_id: UUID, body: object) -> Named:
    """Return the same on a connection of its own, which a body that names nothing does not cost."""
    if not named_calendars(body) and not secret_places(body):
        return _NOTHING
    async with api.database.connection() as connection:
        return await find_named(connection, tenant_id, body)


def _no_secret(name: str) -> str:
    return f"there is no secret {name[:64]!r}: PUT /v1/secrets/{{name}} makes one"

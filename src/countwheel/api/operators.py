"""Who operates the deployment: the tenant that is there from the first start, and what belongs to it alone."""

from countwheel.api.parts import ApiParts
from countwheel.api.problems import Problem
from countwheel.auth import bootstrap
from countwheel.auth.principal import Principal


async def operates(api: ApiParts, principal: Principal) -> bool:
    """Whether somebody is of the operators' tenant."""
    operators = await api.rights.of_tenant(bootstrap.DEFAULT_TENANT)
    return operators is not None and operators.tenant_id == principal.tenant_id


async def only_operators(api: ApiParts, principal: Principal) -> None:
    """Raise the 403 problem for somebody of another tenant, whatever its rights there are."""
    if not await operates(api, principal):
        raise Problem(403, "forbidden", detail=f"this is for the operators' tenant ({bootstrap.DEFAULT_TENANT}) alone")

"""What the API is made with. The composition root chooses each."""

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from countwheel.api.audit_trail import AuditTrail
from countwheel.api.busy import BusyMinutes
from countwheel.api.contract import Contract
from countwheel.api.creator import JobCreator
from countwheel.api.quotas import QuotaKeeper
from countwheel.auth.bearer import BearerTokens
from countwheel.auth.callbacks import CallbackTokens
from countwheel.auth.issuer import Issuer
from countwheel.auth.rights import Rights
from countwheel.auth.slowdown import SlowDown
from countwheel.clock import Chance, Clock
from countwheel.domain.target import TargetRefusal
from countwheel.store.database import Database
from countwheel.store.sealing import Sealer


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What can be set about the API. Units stand last in the names."""

    max_body_bytes: int = 1_048_576
    require_idempotency_key: bool = False
    cancel_wait_seconds: float = 10.0
    """How long a cancel waits for the node that holds the run; longer than a lease, so that a dead one is outlived."""
    cors_origins: tuple[str, ...] = ()
    """Whose pages may call the API from a browser."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    development: bool = False


@dataclass(frozen=True, slots=True)
class ApiParts:
    """Everything that handlers reach for."""

    database: Database
    long_reads: Database
    """For statements that read as much as a tenant has: some of those at once must keep nobody else from an answer."""
    clock: Clock
    chance: Chance
    sealer: Sealer
    contract: Contract
    issuer: Issuer
    bearer: BearerTokens
    rights: Rights
    audit_trail: AuditTrail
    target_refusal: TargetRefusal
    callbacks: CallbackTokens
    creator: JobCreator
    busy: BusyMinutes
    quotas: QuotaKeeper
    slow_down: SlowDown = field(default_factory=SlowDown)
    settings: ApiSettings = field(default_factory=ApiSettings)

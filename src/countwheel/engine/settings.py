"""What can be set about a node's engine. Units stand last in the names."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How a node behaves; the defaults suit a small machine."""

    look_ahead_seconds: float = 0.5
    """How long before its time a run is claimed, so that the claim's round trip is not on the way of the call."""
    lease_seconds: float = 6.0
    """How long a node may be silent before its peers take over what it holds."""
    lease_margin_seconds: float = 1.0
    """How much earlier a node stops trusting its own lease."""
    renew_every_seconds: float = 2.0
    time_measurements: int = 5
    """How often the database is asked for its time at each renewal: the fastest answer says most."""
    poll_every_seconds: float = 0.025
    """How often to look for what has become due soon: the most that a run which is created due now has to wait."""
    look_whole_every_seconds: float = 0.25
    """How often to look from the beginning, at the most: how long what comes in below the floor may have to wait."""
    pace_every_seconds: float = 0.25
    """How often to look at targets: how long it takes a node to obey a limit, a pause or a breaker."""
    cancel_poll_every_seconds: float = 0.1
    recover_every_seconds: float = 1.0
    sweep_every_seconds: float = 60.0
    oversee_every_seconds: float = 1.0
    """How often to look for accepted runs that are silent: what a lost heartbeat is noticed late by, at the most."""
    prune_every_seconds: float = 300.0
    announce_after_seconds: float = 0.25
    """How old a call must be to be shown as RUNNING while it is under way."""
    concurrency: int = 512
    """Calls under way at once; of one tenant seven eighths of them, of one target half of those."""
    max_held: int = 4096
    """Runs claimed at once, waiting and under way."""
    stop_grace_seconds: float = 30.0
    """How long a graceful stop waits for calls under way."""
    retention_days: int = 30
    audit_log_retention_days: int = 400
    owns_database: bool = False
    """True where no other server can be on this database: then whatever node is found in it at the start is dead."""

"""Signed URLs: good for one attempt of one run, until they end."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from countwheel.auth.callbacks import KEY_PURPOSE, CallbackTokens
from countwheel.auth.oauth import InvalidTokenError
from countwheel.clock import SystemChance
from countwheel.store.sealing import Sealer

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
TENANT, JOB, RUN = uuid4(), uuid4(), uuid4()


def tokens(key: int = 0) -> CallbackTokens:
    sealer = Sealer(bytes([key] * 32), SystemChance())
    return CallbackTokens(sealer.derive_keys(KEY_PURPOSE), "https://countwheel.example")


def token_of(made: CallbackTokens) -> str:
    urls = made.urls(TENANT, JOB, RUN, 7, NOW + timedelta(hours=1))
    run = f"https://countwheel.example/v1/jobs/{JOB}/run/{RUN}"
    complete, _, token = urls.complete.partition("?token=")
    assert (complete, urls.heartbeat) == (f"{run}/complete", f"{run}/heartbeat?token={token}")
    return token


def test_every_node_reads_what_another_has_made() -> None:
    """The key comes from the operator's secret alone."""
    named = tokens().open(token_of(tokens()), JOB, RUN, NOW)
    assert (named.tenant_id, named.fence) == (TENANT, 7)


@pytest.mark.parametrize("seconds", [3600, 3601, 10**9])
def test_a_token_ends(seconds: int) -> None:
    """At its time, not a second later."""
    token = token_of(tokens())
    assert tokens().open(token, JOB, RUN, NOW + timedelta(seconds=3599))
    with pytest.raises(InvalidTokenError, match="expired"):
        tokens().open(token, JOB, RUN, NOW + timedelta(seconds=seconds))


def test_another_key_another_run_or_job_opens_nothing() -> None:
    """All of it is under the signature."""
    token = token_of(tokens())
    for opened, job, run in ((tokens(1), JOB, RUN), (tokens(), uuid4(), RUN), (tokens(), JOB, uuid4())):
        with pytest.raises(InvalidTokenError):
            opened.open(token, job, run, NOW)


def test_the_derived_key_is_not_the_operators() -> None:
    """One purpose, one key."""
    sealer = Sealer(bytes(32), SystemChance())
    keys = {*sealer.derive_keys(KEY_PURPOSE), *sealer.derive_keys("another"), bytes(32)}
    assert len(keys) == 3


def test_while_the_operators_key_changes_tokens_of_either_are_read() -> None:
    """The new one signs; what the old one has signed is read as long as it is among the previous ones."""
    old, new = bytes([1] * 32), bytes([2] * 32)
    changing = Sealer(new, SystemChance(), previous=[old])
    both = CallbackTokens(changing.derive_keys(KEY_PURPOSE), "https://countwheel.example")
    assert both.open(token_of(tokens(1)), JOB, RUN, NOW).tenant_id == TENANT
    assert tokens(2).open(token_of(both), JOB, RUN, NOW).tenant_id == TENANT
    with pytest.raises(InvalidTokenError):
        tokens(2).open(token_of(tokens(1)), JOB, RUN, NOW)

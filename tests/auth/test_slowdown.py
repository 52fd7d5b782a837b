"""Whoever guesses has to wait, and nobody else: the count by itself, and at the token endpoint (O8, E5)."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countwheel.auth import bootstrap
from countwheel.auth.slowdown import (
    CAPACITY,
    FORGOTTEN_AFTER_SECONDS,
    FREE_FAILURES,
    FREE_FAILURES_OF_ADDRESS,
    MAX_WAIT_SECONDS,
    SlowDown,
)
from countwheel.clock import SystemChance
from harness import Answer, Node, running_node

HERE, THERE = ip_address("203.0.113.7"), ip_address("198.51.100.1")


def fail(slow: SlowDown, times: int, name: str = "client", address=HERE, now: float = 0.0) -> None:
    for _ in range(times):
        slow.failed(name, address, now)


def test_the_wait_begins_with_the_fifth_failure_and_doubles_to_a_minute() -> None:
    """1, 2, 4 ... 60 s; a try after the wait is free, and its failure doubles the next wait."""
    slow, now, waits = SlowDown(), 0.0, []
    fail(slow, FREE_FAILURES - 1)
    assert slow.wait_seconds("client", HERE, now) == 0
    for _ in range(9):
        slow.failed("client", HERE, now)
        waits.append(slow.wait_seconds("client", HERE, now))
        now += waits[-1]
        assert slow.wait_seconds("client", HERE, now) == 0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_failures_are_forgotten_after_a_while() -> None:
    """Five minutes after the last one, and no sooner."""
    slow = SlowDown()
    fail(slow, FREE_FAILURES - 1)
    slow.failed("client", HERE, FORGOTTEN_AFTER_SECONDS)
    assert slow.wait_seconds("client", HERE, FORGOTTEN_AFTER_SECONDS) == 1
    slow.failed("client", HERE, 2 * FORGOTTEN_AFTER_SECONDS + 1)
    assert slow.wait_seconds("client", HERE, 2 * FORGOTTEN_AFTER_SECONDS + 1) == 0


def test_nobody_can_lock_a_client_out_from_another_address() -> None:
    """An attacker who knows the client's id waits; the client, elsewhere, does not."""
    slow = SlowDown()
    fail(slow, 40, address=THERE)
    assert slow.wait_seconds("client", THERE, 0) == MAX_WAIT_SECONDS
    assert slow.wait_seconds("client", HERE, 0) == 0


def test_an_address_that_tries_many_names_waits_with_all_of_them() -> None:
    """A success does not clear that: whoever tries may know one good name."""
    slow = SlowDown()
    for number in range(FREE_FAILURES_OF_ADDRESS):
        assert slow.wait_seconds("another", HERE, 0) == 0
        slow.failed(f"client {number}", HERE, 0)
        slow.succeeded("own", HERE)
    assert slow.wait_seconds("another", HERE, 0) == 1
    assert slow.wait_seconds("another", THERE, 0) == 0


def test_a_success_clears_what_the_name_failed_before() -> None:
    """From its own address alone."""
    slow = SlowDown()
    fail(slow, FREE_FAILURES - 1)
    fail(slow, FREE_FAILURES, address=THERE)
    slow.succeeded("client", HERE)
    fail(slow, FREE_FAILURES - 1)
    assert slow.wait_seconds("client", HERE, 0) == 0
    assert slow.wait_seconds("client", THERE, 0) == 1


def test_addresses_of_one_ipv6_network_are_one() -> None:
    """A customer has a /64 at least: another address of it is no other place."""
    slow = SlowDown()
    fail(slow, FREE_FAILURES, address=ip_address("2001:db8::1"))
    assert slow.wait_seconds("client", ip_address("2001:db8::ffff:1"), 0) == 1
    assert slow.wait_seconds("client", ip_address("2001:db8:0:1::1"), 0) == 0


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    """As many counts as there is room for, whatever names and addresses an attacker makes up."""
    slow = SlowDown()
    fail(slow, FREE_FAILURES, name="early")
    fail(slow, FREE_FAILURES, name="kept")
    for number in range(CAPACITY):
        slow.failed("x" * 1000 + str(number), ip_address(number + 1), 0)
        if number % 2000 == 0:
            slow.failed("kept", HERE, 0)
    assert len(slow) == 2 * CAPACITY
    assert slow.wait_seconds("early", HERE, 0) == 0
    assert slow.wait_seconds("kept", HERE, 0) > 0


@given(st.lists(st.tuples(st.sampled_from(["fail", "good", "later"]), st.integers(0, 100)), max_size=80))
def test_a_wait_is_never_longer_than_a_minute(steps) -> None:
    """LAW: whatever is done, and whenever; time that passes never makes it longer."""
    slow, now = SlowDown(), 0.0
    for step, seconds in steps:
        if step == "fail":
            slow.failed("client", HERE, now)
        elif step == "good":
            slow.succeeded("client", HERE)
        else:
            before = slow.wait_seconds("client", HERE, now)
            now += seconds
            assert slow.wait_seconds("client", HERE, now) == pytest.approx(max(0.0, before - seconds))
        assert 0 <= slow.wait_seconds("client", HERE, now) <= MAX_WAIT_SECONDS


async def ask(node: Node, client_id: str, secret: str, address: str = "203.0.113.7") -> Answer:
    node.api.token = None
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": address}
    data = "&".join(f"{name}={value}" for name, value in form.items()).encode()
    return await node.api.call("POST", "/oauth/token", data=data, headers=headers)


async def test_e5_the_token_endpoint_slows_guessing_down(dsn: str) -> None:
    """E5: 429 with Retry-After and the RateLimit fields, the right secret included; from elsewhere it is let in."""
    async with running_node(dsn, trusted_proxies=(ip_network("127.0.0.0/8"),)) as node:
        client_id, secret = await bootstrap.create_client(node.database, SystemChance(), name="x")
        refused = [(await ask(node, client_id, "wrong")).status for _ in range(FREE_FAILURES + 3)]
        assert refused[:FREE_FAILURES] == [401] * FREE_FAILURES
        assert 429 in refused[FREE_FAILURES:]
        waits = await ask(node, client_id, secret)
        assert (waits.status, waits.json["type"]) == (429, "/docs/problems/too-many-requests")
        assert 1 <= int(waits.headers["Retry-After"]) <= MAX_WAIT_SECONDS
        assert waits.headers["RateLimit-Policy"] == '"failures";q=5;w=300'
        assert waits.headers["RateLimit"] == f'"failures";r=0;t={waits.headers["Retry-After"]}'
        assert (await ask(node, client_id, secret, "198.51.100.1")).status == 200


async def test_o8_an_unknown_client_has_to_wait_as_a_known_one(node: Node) -> None:
    """O8: nothing tells whether there is such a client; a good one from the same address is not harmed."""
    client_id, secret = await bootstrap.create_client(node.database, SystemChance(), name="x")
    statuses = [(await ask(node, "nobody", "wrong")).status for _ in range(FREE_FAILURES + 1)]
    assert statuses == [401] * FREE_FAILURES + [429]
    assert (await ask(node, client_id, secret)).status == 200

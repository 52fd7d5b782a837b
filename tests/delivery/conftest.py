"""The sender must hold on uvloop, which production runs on, and on asyncio's own loop alike."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop

from countwheel.delivery.guard import Guard
from countwheel.delivery.sender import HttpSender
from harness import LOOPBACK


def pytest_asyncio_loop_factories() -> dict[str, type[asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.Loop}


@pytest.fixture
async def sender() -> AsyncIterator[HttpSender]:
    """A sender that may call this machine."""
    opened = HttpSender(Guard(LOOPBACK, allow_http=True), connections=100)
    yield opened
    await opened.close()

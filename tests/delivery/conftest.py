"""The sender must hold on uvloop, which production runs on, and on asyncio's own loop alike."""

import asyncio

import uvloop


def pytest_asyncio_loop_factories() -> dict[str, type[asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.Loop}

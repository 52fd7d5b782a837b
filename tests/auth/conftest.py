"""What tests of tokens share."""

from collections.abc import AsyncIterator

import pytest
from fake_issuer import FakeIssuer


@pytest.fixture
async def issuer() -> AsyncIterator[FakeIssuer]:
    """An external issuer on loopback."""
    async with FakeIssuer() as running:
        yield running

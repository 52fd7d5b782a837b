"""Helpers for tests of Countwheel and of programs that use it: a receiver for webhooks, a clock that stands still."""

from countwheel.testing.clock import FakeClock, FixedChance
from countwheel.testing.receiver import Received, Reply, WebhookReceiver

__all__ = ["FakeClock", "FixedChance", "Received", "Reply", "WebhookReceiver"]

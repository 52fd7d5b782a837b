"""What a tenant may use in a second: a bucket that fills at the rate, and holds one second's worth. Pure."""

from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """An allowance of `rate` a second. Times are seconds of any clock that only rises."""

    rate: float
    level: float
    at: float

    @classmethod
    def full(cls, rate: float, now: float) -> "Bucket":
        """Return a bucket that nobody has taken from."""
        return cls(rate, max(1.0, rate), now)

    def take(self, count: int, now: float) -> float:
        """Take `count` and return 0. Where less than one is left take nothing, and return in how many seconds there is.

        What is begun is done whole: `count` may be more than is left, and is worked off before the next one.
        """
        self._fill(now)
        if self.level < 1.0:
            return (1.0 - self.level) / self.rate
        self.level -= count
        return 0.0

    def charge(self, count: int, now: float) -> None:
        """Take `count` whatever is left: it is done already."""
        self._fill(now)
        self.level -= count

    def _fill(self, now: float) -> None:
        self.level = min(max(1.0, self.rate), self.level + (now - self.at) * self.rate)
        self.at = now

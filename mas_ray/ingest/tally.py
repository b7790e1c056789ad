"""How much of an ingest is done: what workers count and the driver adds up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Instants looked at, and what became of their views."""

    planned: int = 0
    """Instants of the takes begun."""
    instants: int = 0
    accepted: int = 0
    """Views that are in a row."""
    rejected: int = 0
    """Views that were left out, each with its reason."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            planned=self.planned + other.planned,
            instants=self.instants + other.instants,
            accepted=self.accepted + other.accepted,
            rejected=self.rejected + other.rejected,
        )

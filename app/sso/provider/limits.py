"""How often somebody may knock at the provider's doors; each process counts for itself."""

from dataclasses import dataclass, field
from typing import Final

from flask import Flask

from app.access.rates import Buckets

_KEPT: Final = "doorlist_provider_limits"


@dataclass(frozen=True, kw_only=True)
class ProviderLimits:
    """`proofs` are clients that failed to prove themselves, `grants` codes and tokens that were worth nothing at /token.

    `codes` are what people type at /device, `requests` devices that ask to be let in.
    """

    proofs: Buckets = field(default_factory=lambda: Buckets(rate=1, burst=20))
    grants: Buckets = field(default_factory=lambda: Buckets(rate=2, burst=60))
    codes: Buckets = field(default_factory=lambda: Buckets(rate=1 / 30, burst=10))
    requests: Buckets = field(default_factory=lambda: Buckets(rate=2, burst=60))


def provider_limits(app: Flask) -> ProviderLimits:
    """What an application counts with."""
    kept: ProviderLimits | None = app.extensions.get(_KEPT)
    return kept if kept is not None else app.extensions.setdefault(_KEPT, ProviderLimits())

"""The ceiling: how much one act may take away before somebody must have looked at it."""

from dataclasses import dataclass

from app.reconcile.plan import Plan


class TooLarge(Exception):
    """More would be taken away than the ceiling allows. Nothing was done; the numbers say by how much."""

    def __init__(self, *, removed: int, of: int, allowed: int) -> None:
        self.removed = removed
        self.of = of
        self.allowed = allowed
        super().__init__(f"{removed} of {of} would be removed ({removed / of if of else 1:.0%}); the ceiling allows {allowed}")


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """At most `share` of what there is and never more than `count`; up to `from_count` a share means nothing."""

    share: float = 0.2
    from_count: int = 10
    count: int = 500

    def allowed(self, of: int) -> int:
        """How many may be removed of so many."""
        # The small allowance first: one leaver of three is 33 %, and no accident.
        return min(self.count, max(self.from_count, int(of * self.share)))

    def check(self, plan: Plan) -> None:
        """Raise TooLarge when the plan removes more memberships than the ceiling allows. Adding is never too large."""
        self.check_counts(removed=plan.removed, of=plan.observed)

    def check_counts(self, *, removed: int, of: int) -> None:
        """As `check`, for what is counted without a plan."""
        allowed = self.allowed(of)
        if removed > allowed:
            raise TooLarge(removed=removed, of=of, allowed=allowed)

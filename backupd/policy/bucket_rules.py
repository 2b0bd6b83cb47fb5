"""What a bucket does by itself with the backups in it, as the policy says it: lock and expiry.

The policy only says it: making a bucket that locks, and its lifecycle rules, is for whoever owns
the bucket. `backupd check` compares. Pure.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from backupd.policy.section import PositiveSpan, Section, WholeNumber, span_text

LONGEST_LOCK_DAYS = 3650
"""S3 takes a hundred years; a slip of the keyboard in compliance mode nobody could ever undo."""

EXPIRY_MARGIN = timedelta(days=3)
"""How much longer an archive must last than the manifest that comes with it.

An upload may take a day before its manifest follows, rules count to the next midnight, and servers
carry them out late (Amazon S3 user guide, "Expiring objects").
"""


def _check_days(span: timedelta) -> timedelta:
    if span % timedelta(days=1):
        raise ValueError("is not a number of whole days, which is what lifecycle rules count in")
    return span


Days = Annotated[PositiveSpan, AfterValidator(_check_days)]


class ObjectLock(Section):
    """How long nobody may remove or change what a backup is made of."""

    mode: Literal["governance", "compliance"]
    """governance: who has a right of its own may end a lock early; compliance: nobody may."""
    days: Annotated[WholeNumber, Field(ge=1, le=LONGEST_LOCK_DAYS)]
    """Days from the moment of the backup, 1 to 3650."""

    @property
    def span(self) -> timedelta:
        """The same as a time span."""
        return timedelta(days=self.days)


class ExpiresAfter(Section):
    """What lifecycle rules of the bucket remove by age; the rules themselves are the bucket's."""

    backups: Days
    """Age at which the bucket removes what lies below backups/: the manifests."""
    archives: Days
    """Age at which it removes what lies below archives/; at least three days more than backups."""

    @model_validator(mode="after")
    def _archives_outlive_manifests(self) -> Self:
        if self.archives < self.backups + EXPIRY_MARGIN:
            raise ValueError(
                "'archives' must be at least three days more than 'backups', or backups would be "
                f"listed whose archives are gone; write archives: "
                f"{span_text(self.backups + EXPIRY_MARGIN)} or more, here and in the bucket's rule"
            )
        return self

    @property
    def reusable_for(self) -> timedelta:
        """The greatest age of an archive that will still outlive a manifest that is written now."""
        return self.archives - self.backups - EXPIRY_MARGIN

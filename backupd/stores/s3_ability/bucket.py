"""What holds for the bucket as a whole: its address, what it keeps, and its server's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from backupd.abilities import SKEW_LIMIT, SKEW_WARNING, Ability, Can, Found
from backupd.policy import StoreSpec
from backupd.stores.s3_ability.bench import Bench
from backupd.stores.s3_client import Connector, place_of
from backupd.stores.s3_errors import code_of, plain, translated

_STYLES = {Ability.PATH: "path", Ability.VIRTUAL: "virtual"}


def addressed(spec: StoreSpec) -> tuple[StoreSpec, list[Found]]:
    """`spec` by the way in which the server finds the bucket, and what was found about both ways.

    The policy's own way first. Raises StoreError, with what it met, where neither leads there.
    """
    found = [_style(spec, ability) for ability in _STYLES]
    right = {one.ability: one.can is Can.YES for one in found}
    own = Ability.VIRTUAL if spec.addressing == "virtual" else Ability.PATH
    other = Ability.PATH if own is Ability.VIRTUAL else Ability.VIRTUAL
    chosen = other if right[other] and not right[own] else own
    if not right[chosen]:
        _look(spec)
    if chosen is own:
        return spec, found
    return spec.model_copy(update={"addressing": _STYLES[chosen]}), found


def _style(spec: StoreSpec, ability: Ability) -> Found:
    """Whether the server, asked in this way, answers for the bucket and for no other."""
    if ability is Ability.VIRTUAL and _is_address(spec.endpoint):
        return Found(ability, Can.NO, "the endpoint is an IP address")
    client = Connector(spec.model_copy(update={"addressing": _STYLES[ability]})).connect(
        "when_required", attempts=1
    )
    try:
        page = client.list_objects_v2(Bucket=spec.bucket, Prefix=_below(spec), MaxKeys=1)
    except ClientError as error:
        return Found(ability, Can.NO, f"the answer is {code_of(error)}")
    except BotoCoreError as error:
        host = f"{spec.bucket}.{urlsplit(client.meta.endpoint_url).hostname}"
        is_name = ability is Ability.VIRTUAL and "connect" in str(error).lower()
        return Found(ability, Can.NO, f"no way to {host}" if is_name else plain(str(error)))
    # Asked by the host's name, some servers take the path's first part for the bucket.
    if page.get("Name") != spec.bucket:
        return Found(ability, Can.NO, "the answer is about another bucket, or about none")
    return Found(ability, Can.YES)


def _look(spec: StoreSpec) -> None:
    """Meet what is wrong once more, in words. Raises StoreError."""
    client = Connector(spec).connect("when_required", attempts=2)
    place = place_of(client, spec.bucket)
    with translated("list", place, _below(spec)):
        client.list_objects_v2(Bucket=spec.bucket, Prefix=_below(spec), MaxKeys=1)


def _below(spec: StoreSpec) -> str:
    return f"{spec.prefix}/" if spec.prefix else ""


def _is_address(endpoint: str | None) -> bool:
    try:
        ip_address(urlsplit(endpoint or "").hostname or "")
    except ValueError:
        return False
    return True


def versions(bench: Bench) -> Found:
    """Whether what is overwritten or deleted stays as an old version."""
    status = bench.client.get_bucket_versioning(Bucket=bench.spec.bucket).get("Status")
    if status == "Enabled":
        return Found(
            Ability.VERSIONS,
            Can.YES,
            "what is deleted takes space until a lifecycle rule ends its versions, "
            "the objects of this probe too",
        )
    return Found(Ability.VERSIONS, Can.NO, "suspended" if status == "Suspended" else "off")


def lock(bench: Bench) -> Found:
    """Whether objects can be locked in this bucket."""
    try:
        answer: Any = bench.client.get_object_lock_configuration(Bucket=bench.spec.bucket)
    except ClientError as error:
        if code_of(error) == "ObjectLockConfigurationNotFoundError":
            return Found(Ability.LOCK, Can.NO, "off for this bucket")
        raise
    told = answer.get("ObjectLockConfiguration", {})
    if told.get("ObjectLockEnabled") != "Enabled":
        return Found(Ability.LOCK, Can.NO, "off for this bucket")
    rule = told.get("Rule", {}).get("DefaultRetention")
    if not rule:
        return Found(Ability.LOCK, Can.YES, "on; without a rule for new objects")
    span = f"{rule['Days']} days" if rule.get("Days") else f"{rule.get('Years')} years"
    detail = f"on; each new object, those of this probe too, is locked for {span}"
    return Found(Ability.LOCK, Can.YES, f"{detail} ({str(rule.get('Mode')).lower()})")


def clock(bench: Bench) -> Found:
    """Whether the server's clock and this machine's tell about the same time."""
    before = datetime.now(UTC)
    answer: Any = bench.client.list_objects_v2(
        Bucket=bench.spec.bucket, Prefix=bench.scratch.folder, MaxKeys=1
    )
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if date is None:
        return Found(Ability.CLOCK, Can.UNKNOWN, "the server sends no Date")
    return skew(parsedate_to_datetime(date).astimezone(UTC), before, datetime.now(UTC))


def skew(told: datetime, before: datetime, after: datetime) -> Found:
    """What the server's time, to the second, says when it was asked between two moments of ours."""
    ahead = max(told - after, timedelta(0)) or min(
        told + timedelta(seconds=1) - before, timedelta(0)
    )
    seconds = abs(round(ahead.total_seconds()))
    if abs(ahead) < SKEW_WARNING:
        return Found(Ability.CLOCK, Can.YES, f"{seconds} s apart" if seconds else "to the second")
    side = "ahead of" if ahead > timedelta(0) else "behind"
    limit = SKEW_LIMIT // timedelta(minutes=1)
    return Found(
        Ability.CLOCK,
        Can.NO,
        f"the server's is {seconds} s {side} this machine's; set the clock that is wrong: requests "
        f"fail from {limit} minutes on",
    )

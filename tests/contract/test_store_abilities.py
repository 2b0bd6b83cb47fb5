"""What S3 servers can do, found out at real ones, at an imitation, and at a fake with oddities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import SecretStr

from backupd.abilities import Ability, Can, Found, advice, failures
from backupd.errors import StoreError
from backupd.policy import StoreSpec
from backupd.stores.s3_ability import probe_abilities
from tests.contract.conftest import bench_of, moto_spec, s3_spec
from tests.contract.streams import MIB
from tests.contract.test_store_odd_servers import odd_spec
from tests.servers.certificates import Certificates
from tests.servers.moto import MotoServer
from tests.servers.odd_s3 import Oddity, OddS3
from tests.servers.seaweedfs import FULL, GRANTED, NO_DELETE, SeaweedFS

HOST = "web01"
ENDPOINT = "http://s3.backupd.test"
CONDITIONAL = (Ability.ABSENT, Ability.ABSENT_PARTS)


def cans(found: Sequence[Found]) -> dict[Ability, Can]:
    return {one.ability: one.can for one in found}


def details(found: Sequence[Found]) -> dict[Ability, str]:
    return {one.ability: one.detail for one in found}


def lacks(found: Sequence[Found]) -> set[Ability]:
    """What the server cannot do, but for what a bucket on loopback never has."""
    usual = {Ability.VIRTUAL, Ability.VERSIONS, Ability.LOCK}
    return {one.ability for one in found if one.can is not Can.YES} - usual


def found_at(
    *oddities: Oddity, certificates: Certificates | None = None, **store: Any
) -> tuple[OddS3, Sequence[Found]]:
    """The server after the probe, and what was found there."""
    with OddS3(*oddities, certificates=certificates) as server:
        spec = odd_spec(server, certificates=certificates, **store)
        probed = probe_abilities(spec, HOST)
        assert () == probed.left
        return server, probed.found


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_seaweedfs_can_everything(seaweed: SeaweedFS, scheme: str) -> None:
    spec = s3_spec(seaweed, scheme=scheme)

    found = probe_abilities(spec, HOST).found

    assert (set(), [], []) == (lacks(found), advice(spec, found), failures(found))
    where = {"http": "in a header, as over http", "https": "behind the body, as over https"}
    assert where[scheme] == details(found)[Ability.CHECKSUMS]


def test_moto_checks_nothing_and_needs_no_setting(moto: MotoServer) -> None:
    spec = moto_spec(moto)

    found = probe_abilities(spec, HOST).found

    assert {Ability.CHECKED, Ability.MD5, Ability.ABORT} == lacks(found)
    assert "is told to be of 2010-11-10" in details(found)[Ability.ABORT]
    assert ([], []) == (advice(spec, found), failures(found))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_is_left_and_nothing_is_touched(seaweed: SeaweedFS, scheme: str) -> None:
    spec = s3_spec(seaweed, scheme=scheme)
    bench = bench_of(spec, seaweed.client())
    bench.store.put_bytes("web01/host.json", b"{}")
    bench.store.put_bytes("web01/probe/mine", b"kept")

    probed = probe_abilities(spec, HOST)

    assert () == probed.left
    assert (["web01/host.json", "web01/probe/mine"], []) == (bench.objects(), bench.unfinished())
    assert b"kept" == bench.store.get_bytes("web01/probe/mine", limit_bytes=10)


def test_everything_is_written_below_the_hosts_own_prefix() -> None:
    server, _ = found_at()

    keys = {request.split()[1] for request in server.requests if request.startswith("PUT ")}
    assert {True} == {key.startswith("/p/web01/probe/") for key in keys}


def test_nothing_is_left_where_the_server_fails_in_the_middle() -> None:
    with OddS3() as server:
        server.before_part_answer = _broken
        found = probe_abilities(odd_spec(server), HOST).found

        assert ({}, {}) == (server.objects, server.uploads)
    assert Can.NO is cans(found)[Ability.PARTS]


def _broken() -> None:
    raise RuntimeError("the server breaks")


def test_keys_that_may_not_delete_are_asked_for_nothing_more(seaweed: SeaweedFS) -> None:
    spec = s3_spec(seaweed, identity=NO_DELETE)

    with pytest.raises(StoreError, match="these keys may not delete there"):
        probe_abilities(spec, HOST)

    assert [] == bench_of(spec, seaweed.client()).objects()


def test_what_keys_may_not_ask_cannot_be_told(seaweed: SeaweedFS) -> None:
    seaweed.client().create_bucket(Bucket="abilities")
    spec = s3_spec(seaweed, identity=GRANTED, bucket="abilities", prefix="docker")
    rights = ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    everything = ["arn:aws:s3:::abilities", "arn:aws:s3:::abilities/*"]
    statement = {"Sid": "Some", "Effect": "Allow", "Action": rights, "Resource": everything}
    seaweed.grant("abilities", {"Version": "2012-10-17", "Statement": [statement]})

    found = cans(probe_abilities(spec, HOST).found)

    unknown = {ability for ability, can in found.items() if can is Can.UNKNOWN}
    assert {Ability.VERSIONS, Ability.LOCK} == unknown


def test_versions_and_lock_are_told(seaweed: SeaweedFS) -> None:
    client = seaweed.client()
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    found = probe_abilities(s3_spec(seaweed, bucket="locked"), HOST).found

    assert (Can.YES, Can.YES) == (cans(found)[Ability.VERSIONS], cans(found)[Ability.LOCK])
    assert "on; without a rule for new objects" == details(found)[Ability.LOCK]


@pytest.mark.parametrize("oddity", [Oddity.REFUSES_TRAILERS, Oddity.STORES_TRAILERS])
def test_servers_that_cannot_take_checksums_get_the_line_to_set(
    certificates: Certificates, oddity: Oddity
) -> None:
    _, found = found_at(oddity, certificates=certificates)
    spec = StoreSpec(url="s3://my-backups", endpoint="https://s3.example.com")
    lines = [(one.key, one.value) for one in advice(spec, found)]

    assert ([("checksums", "when_required")], []) == (lines, failures(found))


@pytest.mark.parametrize(
    ("oddity", "ability", "words"),
    [
        (Oddity.NO_MULTI_DELETE, Ability.MANY, "one by one"),
        (Oddity.IGNORES_RANGES, Ability.RANGES, "cannot go on"),
        (Oddity.TELLS_WRONG_TIME, Ability.CLOCK, "ahead of this machine's"),
    ],
)
def test_what_backups_can_do_without_is_told_and_no_failure(
    oddity: Oddity, ability: Ability, words: str
) -> None:
    _, usual = found_at()
    _, found = found_at(oddity)

    assert {ability} == lacks(found) - lacks(usual)
    assert (True, []) == (words in details(found)[ability], failures(found))


@pytest.mark.parametrize(
    ("oddity", "ability", "words"),
    [
        (Oddity.LOSES_TOKEN, Ability.PAGES, "2 of 7 keys came"),
        (Oddity.LOSES_PARTS, Ability.PARTS, "other bytes come back"),
        (Oddity.REFUSES_PARTS, Ability.PARTS, "does not allow these keys"),
        (Oddity.SHRINKS, Ability.KEYS, "does not come back"),
    ],
)
def test_what_backups_depend_on_is_told_as_a_failure(
    oddity: Oddity, ability: Ability, words: str
) -> None:
    _, found = found_at(oddity)

    assert words in details(found)[ability]
    expected = [] if cans(found)[ability] is Can.UNKNOWN else [ability]
    assert expected == [one.ability for one in failures(found)]


def test_a_page_with_everything_is_as_good() -> None:
    _, found = found_at(Oddity.ONE_PAGE)

    assert Can.YES is cans(found)[Ability.PAGES]
    assert "all came at once" in details(found)[Ability.PAGES]


def test_deleting_many_is_tried_with_content_md5_and_without() -> None:
    _, found = found_at(Oddity.NEEDS_CONTENT_MD5)

    assert (Can.YES, "only with Content-MD5, which backupd sends") == (
        cans(found)[Ability.MANY],
        details(found)[Ability.MANY],
    )


def test_a_server_without_conditions_overwrites() -> None:
    _, found = found_at()

    assert [Can.NO, Can.NO] == [cans(found)[ability] for ability in CONDITIONAL]
    assert "overwrites silently" in details(found)[Ability.ABSENT_PARTS]


@pytest.mark.parametrize(
    ("oddity", "ability", "store", "key"),
    [
        (Oddity.REFUSES_CLASSES, Ability.CLASS, {"storage_class": "COLD"}, "storage_class"),
        (Oddity.REFUSES_ENCRYPTION, Ability.ENCRYPTION, {"sse": "AES256"}, "sse"),
    ],
)
def test_what_the_policy_wants_and_the_server_refuses_is_to_go(
    oddity: Oddity, ability: Ability, store: dict[str, Any], key: str
) -> None:
    _, found = found_at(oddity, **store)
    _, kind = found_at(**store)
    spec = StoreSpec.model_validate({"url": "s3://my-backups", **store})

    assert (Can.YES, Can.NO) == (cans(kind)[ability], cans(found)[ability])
    assert [(key, None)] == [(one.key, one.value) for one in advice(spec, found)]


@pytest.fixture
def by_name(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store at a server that is reached by any name: by way of a proxy, as no name resolves."""

    def spec_of(server: OddS3, addressing: str = "auto") -> StoreSpec:
        monkeypatch.setenv("HTTP_PROXY", server.endpoint)
        return odd_spec(server, endpoint=ENDPOINT, addressing=addressing)

    return spec_of


@pytest.mark.parametrize("addressing", ["auto", "path"])
def test_a_server_that_takes_the_bucket_in_its_name_only_is_found_out(
    by_name: Any, addressing: str
) -> None:
    with OddS3(Oddity.VIRTUAL_ONLY) as server:
        spec = by_name(server, addressing)
        found = probe_abilities(spec, HOST).found

    assert (Can.NO, Can.YES) == (cans(found)[Ability.PATH], cans(found)[Ability.VIRTUAL])
    assert ["addressing: virtual"] == [str(one).split("  #")[0] for one in advice(spec, found)]
    assert ([], {}) == (failures(found), server.objects)


def test_a_server_that_takes_the_bucket_in_the_path_only_is_found_out(by_name: Any) -> None:
    with OddS3() as server:
        spec = by_name(server, "virtual")
        found = probe_abilities(spec, HOST).found

    assert (Can.YES, Can.NO) == (cans(found)[Ability.PATH], cans(found)[Ability.VIRTUAL])
    assert ["addressing: path"] == [str(one).split("  #")[0] for one in advice(spec, found)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"secret_key": SecretStr("not-the-secret")}, "the secret key does not belong"),
        ({"access_key": SecretStr("nobody")}, "does not know the access key"),
        ({"url": "s3://nowhere"}, "has no bucket 'nowhere'; create it"),
        ({"endpoint": "http://127.0.0.1:9"}, "refuses connections"),
    ],
    ids=["secret", "access", "bucket", "down"],
)
def test_where_nothing_can_be_tried_one_sentence_says_why(
    seaweed: SeaweedFS, change: dict[str, Any], words: str
) -> None:
    spec = s3_spec(seaweed, identity=FULL).model_copy(update=change)

    with pytest.raises(StoreError, match=words):
        probe_abilities(spec, HOST)


def test_no_more_is_asked_and_sent_than_the_documentation_says() -> None:
    server, _ = found_at()

    assert server.acknowledged_bytes < 6 * MIB
    assert len(server.requests) < 100

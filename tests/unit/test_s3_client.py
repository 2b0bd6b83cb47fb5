"""What an S3 store costs while none is open."""

from __future__ import annotations

import gc

from botocore.loaders import Loader
from pydantic import SecretStr

from backupd.policy import StoreSpec
from backupd.stores import open_store

SPEC = StoreSpec(
    url="s3://bucket",
    endpoint="http://127.0.0.1:1",
    access_key=SecretStr("key"),
    secret_key=SecretStr("secret"),
)


def loaders() -> set[int]:
    """The identities of all parsed descriptions of S3 in memory, 20 MiB each."""
    gc.collect()
    return {id(each) for each in gc.get_objects() if isinstance(each, Loader)}


def test_all_open_stores_share_the_descriptions_of_s3_and_the_last_one_takes_them_along() -> None:
    before = loaders()
    first, second = open_store(SPEC), open_store(SPEC)
    shared = loaders() - before
    del first
    kept = loaders() - before
    del second

    assert 1 == len(shared)
    assert shared == kept
    assert set() == loaders() - before

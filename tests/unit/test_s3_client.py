"""What S3 stores cost while they are open, and that nothing of it stays."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc

from botocore.loaders import Loader

from backupd.policy import StoreSpec
from backupd.stores import open_store

def loaders():
    gc.collect()
    return sum(isinstance(each, Loader) for each in gc.get_objects())

spec = StoreSpec(url="s3://bucket", access_key="key", secret_key="secret")
first, second = open_store(spec), open_store(spec)
shared = loaders()
del first
kept = loaders()
del second
print(shared, kept, loaders())
"""
"""Run by a process of its own: one that runs other tests may hold stores of theirs."""


def test_all_open_stores_share_the_descriptions_of_s3_and_the_last_one_takes_them_along() -> None:
    """20 MiB each, as `Loader`s hold them."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)

    assert "1 1 0\n" == done.stdout, done.stderr

"""What a forged record may not hide."""

from __future__ import annotations

import pytest

from backupd.container_rights import disguised


@pytest.mark.parametrize("key", ["privileged", "BINDS", "deviceſ", "pidmode"])
def test_a_key_that_only_an_engine_would_understand_is_found(key: str) -> None:
    assert [key] == disguised({"Privileged": False, "Memory": 1, key: "x"})


def test_keys_as_engines_write_them_are_none() -> None:
    assert [] == disguised({"Privileged": True, "Binds": [], "Dns": [], "SomethingNew": 1})

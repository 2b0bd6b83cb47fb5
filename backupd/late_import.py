"""Imports that wait until they are used."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def put_off(name: str) -> Iterator[None]:
    """Inside, whoever imports `name` gets a stand-in that loads it when something in it is used.

    Where there is no such module, its import fails as ever.
    """
    if name in sys.modules or importlib.util.find_spec(name) is None:
        yield
        return
    stand_in = ModuleType(name)
    vars(stand_in)["__getattr__"] = lambda part: getattr(importlib.import_module(name), part)
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        del sys.modules[name]


@contextmanager
def stood_in(name: str, **parts: object) -> Iterator[None]:
    """Inside, whoever imports `name` gets a module that holds these parts and nothing else.

    For what is taken out of it at once. Where it is loaded already, it is what they get.
    """
    if name in sys.modules:
        yield
        return
    stand_in = ModuleType(name)
    vars(stand_in).update(parts)
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        del sys.modules[name]

"""What the fuzz tests share: how long they look, and how they spoil a document that is right."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st


def fuzzed(examples: int) -> settings:
    """Settings of a fuzz test: the same examples in each run, so that a failure is no accident.

    A failing example is not made smaller, which may take minutes: it can be had again at will.
    """
    return settings(
        max_examples=examples,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.function_scoped_fixture,
        ],
    )


HOSTILE_TEXTS = (
    "",
    "..",
    "../../etc/passwd",
    "/",
    "//",
    "a/../b",
    "\x00",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "two\nlines",
    "\r",
    "\udcff",
    "\ud800",
    "%2e%2e%2f",
    "{0.__class__}",
    "x" * 5000,
    "9" * 5000,
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999-14:00",
    "NaN",
    "container:",
    "sha256:",
)
"""What people and programs put where a name is expected, to see what happens."""

HOSTILE_VALUES: tuple[Any, ...] = (
    *HOSTILE_TEXTS,
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**63),
    10**400,
    0.5,
    float("inf"),
    float("nan"),
    [],
    [None],
    [[]],
    [{}],
    [0],
    ["x"],
    {},
    {"": ""},
    {"x": None},
    {"x": {}},
    {"x": ["y"]},
)
"""Values of every type that JSON has, and some that it only just has."""

_MOST_PLACES = 3


@st.composite
def spoiled(draw: st.DrawFn, document: Any) -> Any:
    """`document` (JSON) with a few of its parts exchanged, removed, or put in another's place."""
    changed = deepcopy(document)
    for _ in range(draw(st.integers(1, _MOST_PLACES))):
        places = list(_places(changed))
        if not places:
            return deepcopy(draw(st.sampled_from(HOSTILE_VALUES)))
        parent, step = draw(st.sampled_from(places))
        action = draw(st.sampled_from(["replace", "replace", "remove", "move", "wrap"]))
        if action == "remove":
            del parent[step]
        elif action == "move":
            other, elsewhere = draw(st.sampled_from(places))
            parent[step] = deepcopy(other[elsewhere])
        elif action == "wrap":
            parent[step] = [parent[step]]
        else:
            parent[step] = deepcopy(draw(st.sampled_from(HOSTILE_VALUES)))
    return changed


def _places(document: Any) -> Any:
    """Each part of the document, as its container and its place in there."""
    steps: Any = ()
    if isinstance(document, dict):
        steps = list(document)
    elif isinstance(document, list):
        steps = range(len(document))
    for step in steps:
        yield document, step
        yield from _places(document[step])

"""What stands in for the verbs until they are called says of them what they say themselves."""

from __future__ import annotations

import click
import pytest

from backupd.cli.main import cli
from backupd.cli.verbs import VERBS, Verb

WIDE = 1000
"""Columns enough for every first sentence."""


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_a_verb_is_listed_with_its_name_and_its_first_sentence(verb: Verb) -> None:
    command = verb.load()

    assert (command.name, command.get_short_help_str(WIDE)) == (
        verb.name,
        verb.get_short_help_str(WIDE),
    )
    assert verb is cli.commands[str(command.name)]


def test_a_call_goes_on_with_the_command_itself() -> None:
    verb = next(verb for verb in VERBS if verb.name == "restore")

    context = verb.make_context("restore", ["image"], resilient_parsing=True)

    assert verb.load() is context.command
    assert isinstance(context.command, click.Group)

"""What a command needs, made from its options when it is first asked for.

The heavy imports (boto3, docker, pydantic) happen here, inside functions, so that `--help` and
`--version` answer at once; for their sake even small ones do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path
    from zoneinfo import ZoneInfo

    from backupd.age_keys import Identities
    from backupd.engine import Engine
    from backupd.policy import Policy
    from backupd.site import Site
    from backupd.state import StateDir
    from backupd.stores import Store
    from backupd.turns import Turns

DEFAULT_DOCKER_HOST = "unix:///var/run/docker.sock"


@dataclass
class Session:
    """One call of the command line."""

    config: Path | None = None
    store_options: dict[str, Any] = field(default_factory=dict)
    docker_host: str | None = None
    identity_options: list[str] = field(default_factory=list)
    """What `--identity` named, in its order."""
    is_patient: bool = True
    """Whether to retry what may pass; a check would rather say soon what is wrong."""
    only_reads: bool = False
    """Whether the verb takes from the store alone, so that a person may be waiting for it."""

    @cached_property
    def policy(self) -> Policy:
        """The policy. Raises PolicyError with everything that is wrong with it."""
        from backupd.config import default_path, load

        loaded = load(self.config or default_path(os.environ), environ=os.environ)
        for warning in loaded.warnings:
            warn(warning)
        return loaded.policy

    @cached_property
    def optional_policy(self) -> Policy | None:
        """The policy, or None on the day when there is none and `--store` must do."""
        return None if self.store_options.get("url") else self.policy

    @cached_property
    def store(self) -> Store:
        """The store of `--store` and its options, else the policy's.

        Raises UsageError where this process may open too few files.
        """
        from backupd.descriptors import make_room
        from backupd.stores import open_store

        make_room()
        policy = self.optional_policy
        spec = policy.store if policy else _store_spec(self.store_options)
        return open_store(
            spec,
            is_patient=self.is_patient,
            is_awaited=self.only_reads and is_terminal(),
            limits=policy.limits if policy else None,
        )

    @cached_property
    def engine(self) -> Engine:
        """The engine of `--docker-host`, the policy or $DOCKER_HOST, not yet connected."""
        return self._engine_of(self.optional_policy)

    @cached_property
    def bare_engine(self) -> Engine:
        """The same for work that needs no store, and so no policy where there is none."""
        return self._engine_of(self._policy_if_any)

    @property
    def _policy_if_any(self) -> Policy | None:
        from backupd.config import default_path

        path = self.config or default_path(os.environ)
        return self.policy if self.config or path.exists() else None

    @cached_property
    def identities(self) -> Identities:
        """The private keys of `--identity`, then the policy's; a passphrase is asked for at once.

        Raises UsageError.
        """
        return self._identities_of(self.optional_policy)

    @cached_property
    def bare_identities(self) -> Identities:
        """The same for work that needs no store, and so no policy where there is none."""
        return self._identities_of(self._policy_if_any)

    def _identities_of(self, policy: Policy | None) -> Identities:
        from backupd.cli.identity import named_identities

        return named_identities(self.identity_options, policy)

    def _engine_of(self, policy: Policy | None) -> Engine:
        from backupd.engine import Engine
        from backupd.policy import DockerSpec

        spec = policy.docker if policy else DockerSpec()
        if self.docker_host:
            # Another engine than the policy's has nothing of that one's TLS files.
            spec = spec.model_copy(update={"host": self.docker_host, "tls": None})
        return Engine(spec, host=spec.host or os.environ.get("DOCKER_HOST") or DEFAULT_DOCKER_HOST)

    @cached_property
    def host(self) -> str:
        """The name under which this machine backs up."""
        import socket

        named = self.optional_policy.host if self.optional_policy else None
        return named or socket.gethostname()

    @cached_property
    def state(self) -> StateDir:
        """The state directory of the policy, else the default one."""
        from backupd.state import StateDir, default_state_dir

        policy = self.optional_policy
        chosen = policy.state_dir if policy else None
        return StateDir(chosen or default_state_dir(os.environ))

    @cached_property
    def site(self) -> Site:
        """All of the above."""
        from backupd.site import Site

        policy = self.optional_policy
        site = Site(
            self.host,
            self.engine,
            self.store,
            self.state,
            lambda: datetime.now(UTC),
            identities=self.identities,
        )
        if policy is not None:
            from dataclasses import replace

            self.turns.allow(policy.parallel)
            site = replace(
                site,
                reuse_max_age=policy.reusable_for,
                compression_threads=policy.limits.compression_threads,
                turns=self.turns,
            )
        return site

    @cached_property
    def turns(self) -> Turns:
        """How many sources are read at a time, in all that this process does."""
        from backupd.turns import Turns

        return Turns()

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which people read and write times."""
        from zoneinfo import ZoneInfo

        policy = self.optional_policy
        return ZoneInfo(policy.timezone if policy else "UTC")

    def close(self) -> None:
        """Close what was opened."""
        if "engine" in self.__dict__:
            self.engine.close()


def _store_spec(options: dict[str, Any]) -> Any:
    """The options of `--store` as a policy's `store:`, checked by the same models."""
    from pydantic import ValidationError

    from backupd.errors import UsageError
    from backupd.policy import StoreSpec

    given = {name: value for name, value in options.items() if value is not None}
    try:
        return StoreSpec(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        option = "--" + str((first["loc"] or ("store",))[0]).replace("_", "-").replace(
            "url", "store"
        )
        raise UsageError(f"{option}: {first['msg'].removeprefix('Value error, ')}") from error


def warn(text: str) -> None:
    """A line on standard error for what a person should know."""
    from backupd.text import shown

    click.echo(f"backupd: warning: {shown(text)}", err=True)


def is_terminal() -> bool:
    """Whether a person watches standard error."""
    return sys.stderr.isatty()


def expect_many() -> None:
    """Look for garbage in cycles rarely, in a command that ends once it has shown a listing.

    A hundred thousand backups are as many values without a cycle, which Python would look through
    again and again: a third of the CPU of `list`.
    """
    import gc

    gc.set_threshold(50_000, 20, 100)


Command = Callable[..., Any]


def _remember_config(context: click.Context, _: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        from pathlib import Path

        context.ensure_object(Session).config = Path(value)
    return value


def config_option(command: Command) -> Command:
    """`--config`, which may stand before or after the verb."""
    return click.option(
        "--config",
        type=click.Path(),
        metavar="FILE",
        expose_value=False,
        callback=_remember_config,
        help="Policy file; default $BACKUPD_CONFIG, then /etc/backupd/config.yaml.",
    )(command)


def _remember_store(context: click.Context, option: click.Parameter, value: Any) -> Any:
    session = context.ensure_object(Session)
    session.only_reads = True  # no other verb has these options
    if value is not None:
        name = "url" if option.name == "store" else str(option.name)
        session.store_options[name] = value
    return value


def store_options(command: Command) -> Command:
    """`--store` and what belongs to it: enough to list and restore with no policy at all."""
    choices = [
        (
            "--store",
            "URL",
            "Store to use instead of the policy's: s3://bucket/prefix or file:///path.",
        ),
        ("--endpoint", "URL", "With --store: address of the S3 server."),
        ("--region", "NAME", "With --store: region of the bucket."),
        ("--addressing", "auto|path|virtual", "With --store: how requests name the bucket."),
        ("--ca-bundle", "FILE", "With --store: PEM file of the authorities to trust."),
    ]
    for name, metavar, text in reversed(choices):
        command = click.option(
            name, metavar=metavar, help=text, expose_value=False, callback=_remember_store
        )(command)
    return command

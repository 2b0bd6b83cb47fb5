"""`backupd show`: one backup's manifest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from backupd.cli.session import Session, config_option, store_options

if TYPE_CHECKING:
    from backupd.layout import BackupKey
    from backupd.manifest import Manifest


@click.command()
@click.argument("backup_id", metavar="ID")
@click.option("--host", help="Another host's backup; '*' looks at every host.")
@click.option("--json", "as_json", is_flag=True, help="The manifest as it is stored.")
@store_options
@config_option
@click.pass_obj
def show(session: Session, backup_id: str, *, host: str | None, as_json: bool) -> None:
    """Show one backup's manifest; the first digits of its ID are enough.

    \b
    Example: backupd show 3f2ab91c
    """
    from backupd.verbs.choose import Wish, choose

    chosen = host or (session.host if session.optional_policy else None)
    catalog, manifest = choose(session.store, Wish(host=chosen, id=backup_id), datetime.now(UTC))
    if as_json:
        from backupd.text import shown_json

        click.echo(shown_json(manifest.to_json().decode()), nl=False)
    else:
        listed = catalog.of_source(manifest.job, manifest.kind, manifest.name)
        _print(session, manifest, next((one for one in listed if one.id == manifest.id), None))


def _print(session: Session, manifest: Manifest, listed: BackupKey | None) -> None:
    from backupd.text import moment, shown, size

    archive = manifest.archive
    rows = [
        ("backup", manifest.id),
        ("source", f"{manifest.kind} {manifest.name}"),
        ("job", f"{manifest.job} on host {manifest.host}"),
        ("taken", moment(manifest.taken_at, session.zone)),
        ("size", f"{size(archive.size_bytes)} as tar, {size(archive.stored_bytes)} stored"),
        ("archive", session.store.full_key(archive.key)),
        ("coded", f"{archive.compression}, made {moment(archive.made_at, session.zone)}"),
        ("sha256 (tar)", archive.sha256),
        ("sha256 (stored)", archive.stored_sha256),
        ("engine", f"Docker {manifest.engine.version}, {manifest.engine.storage_driver}"),
    ]
    if archive.encryption:
        rows += [("encrypted for", one) for one in archive.encryption.recipients]
    rows += [("image", f"{image.reference} = {image.id}") for image in manifest.images]
    if manifest.container:
        container = manifest.container
        held = "paused" if container.paused else "stopped" if container.stopped else ""
        held = f", {held} while it was read" if held else ""
        rows.append(("container", f"{container.id[:12]}, {container.state}{held}"))
        rows.append(("of image", f"{container.image} = {container.image_id}"))
    if manifest.volume:
        volume = manifest.volume
        users = ", ".join(volume.mounted_by) or "no container"
        what = "directory of the host" if volume.path else f"volume of driver {volume.driver}"
        rows.append(("what", f"{what}, mounted by {users}"))
    if manifest.moment:
        rows.append(("moment", f"{manifest.moment}, of all that was read together"))
    if manifest.record:
        rows.append(("record", session.store.full_key(manifest.record.key)))
    for how, at in listed.proofs.items() if listed else ():
        rows.append(("proven", f"{how} {moment(at, session.zone)}"))
    states = sorted(listed.states - listed.proofs.keys()) if listed else []
    rows += [("state", state) for state in states]
    rows += [("warning", warning) for warning in manifest.warnings]
    for name, value in rows:
        click.echo(f"{name:<16} {shown(value)}")

"""`backupd restore`: images, bundles, containers, volumes, stacks; a file for each noun."""

from __future__ import annotations

import click

from backupd.cli.restore_container import container
from backupd.cli.restore_image import bundle, image
from backupd.cli.restore_stack import stack
from backupd.cli.restore_volume import volume


@click.group()
def restore() -> None:
    """Bring back an image, a bundle of images, a container, a volume, or a Compose project.

    \b
    Examples: backupd restore image nginx:latest
              backupd restore container web --run --at 2026-03-01
              backupd restore volume pgdata --to pgdata-old
              backupd restore image --from backup.tar.zst
              backupd restore image app:2 --identity backups.key
    """


for _command in (image, bundle, container, volume, stack):
    restore.add_command(_command)

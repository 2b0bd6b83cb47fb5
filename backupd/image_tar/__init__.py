"""Image archives: what a `docker save` must hold, with other tags, and made around one layer.

The formats, as measured: engine 20.10 (`<id>/layer.tar`, `<config>.json`), engine 26 with graph
drivers and with the containerd image store (an OCI layout, `blobs/sha256/…`), and Podman
(`<diff id>.tar`). All of them have a `manifest.json`. Pure stream code: nothing here talks to an
engine or holds more of an archive than its small JSON documents.
"""

from backupd.image_tar.check import ExpectedImage, ImageCheck
from backupd.image_tar.load import loadable
from backupd.image_tar.retag import renamed, retagged

__all__ = ["ExpectedImage", "ImageCheck", "loadable", "renamed", "retagged"]

"""`make demo`: loses an image and a container, and brings both back with the real command.

A real Docker engine (the one that answers already, else one of its own), a real S3 server on this
machine, and `backupd` as a person runs it. Ends with 0 only if everything came back as it was.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

import docker
import docker.errors

from tests.demo import scene
from tests.servers.dockerd import Engine, EngineMissing, default_host
from tests.servers.seaweedfs import FULL, SeaweedFS, SeaweedMissing

BUCKET = "backups"
POLICY = """\
timezone: Europe/Berlin
host: demo
state_dir: {directory}/state
docker:
  host: {docker_host}
store:
  url: s3://{bucket}/docker
  endpoint: {endpoint}
  access_key: ${{env:S3_KEY}}
  secret_key: ${{file:{directory}/s3.secret}}
jobs:
  nightly:
    schedule: "0 3 * * *"
    images: ["{image}"]
    containers: ["backupd-demo-*"]
    retention: {{keep_daily: 7, keep_weekly: 4}}
"""


class Failed(Exception):
    """The demo cannot go on; the text says why."""


class Backupd:
    """The installed command, with the demo's policy."""

    def __init__(self, directory: Path) -> None:
        self._environment = {
            **os.environ,
            "BACKUPD_CONFIG": str(directory / "config.yaml"),
            "S3_KEY": FULL.access_key,
        }

    def __call__(self, *arguments: str) -> None:
        """Show the command and run it; Failed unless it ends well."""
        print(f"\n$ backupd {' '.join(arguments)}", flush=True)
        program = Path(sys.executable).with_name("backupd")
        done = subprocess.run(
            [program, *arguments], stdin=subprocess.DEVNULL, env=self._environment, check=False
        )
        if done.returncode != 0:
            raise Failed(f"backupd {arguments[0]} ended with exit code {done.returncode}")


class Verdict:
    """Compares what was with what is, aloud, and remembers whether all was well."""

    def __init__(self) -> None:
        self.all_same = True

    def same(self, what: str, before: Any, after: Any) -> None:
        """Say whether `what` came back as it was."""
        if before == after:
            print(f"  same       {what}")
            return
        self.all_same = False
        print(f"  DIFFERENT  {what}\n    before: {before!r}\n    after:  {after!r}")


def main() -> int:
    """Play the demo; the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    began = time.monotonic()
    try:
        verdict = play()
    except (Failed, EngineMissing, SeaweedMissing, docker.errors.DockerException) as error:
        print(f"\nthe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nthe demo was stopped; everything it made is removed", file=sys.stderr)
        return 130
    if not verdict.all_same:
        print("\nthe demo failed: something did not come back as it was", file=sys.stderr)
        return 1
    print(f"\nAll is as it was, after {time.monotonic() - began:.0f} seconds; cleaned up.")
    return 0


def play() -> Verdict:
    """Set up, back up, lose, restore and compare; cleaned up whatever happens."""
    with ExitStack() as cleanup:
        directory = Path(tempfile.mkdtemp(prefix="backupd-demo-"))
        cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
        engine = cleanup.enter_context(_engine())
        server = cleanup.enter_context(SeaweedFS())
        server.make_bucket(BUCKET)
        api = engine.client()
        cleanup.callback(scene.clear, api)
        scene.clear(api)  # of a demo that was killed
        _say("Engine and store")
        print(f"  Docker {api.version()['Version']} at {engine.host}")
        print(f"  SeaweedFS, a real S3 server, at {server.endpoint}")
        _write_policy(directory, engine, server)
        return _lose_and_restore(api, Backupd(directory))


def _lose_and_restore(api: docker.APIClient, backupd: Backupd) -> Verdict:
    image, container = _make(api)
    backupd("check")
    backupd("backup")
    backupd("list")
    _lose(api)
    backupd("restore", "image", scene.IMAGE)
    verdict = Verdict()
    after = scene.ImageFacts.of(api, scene.IMAGE)
    verdict.same(f"image id    {image.id}", image.id, after.id)
    verdict.same(f"tag         {', '.join(image.tags)}", image.tags, after.tags)
    verdict.same(f"layers      {len(image.layers)}", image.layers, after.layers)
    verdict.same(f"history     {len(image.history)} steps", image.history, after.history)
    backupd("restore", "container", scene.CONTAINER, "--tag", scene.RESTORED)
    _compare_container(api, container, verdict)
    return verdict


def _make(api: docker.APIClient) -> tuple[scene.ImageFacts, dict[str, Any]]:
    _say("An image and a container")
    image = scene.make_image(api)
    container = scene.make_container(api)
    print(f"  built {scene.IMAGE}: {len(image.layers)} layers, {image.id}")
    print(f"  running {scene.CONTAINER}: {scene.CHANGED_FILE} was changed in it since,")
    print(f"  and {scene.DELETED_FILE} was deleted")
    return image, container


def _lose(api: docker.APIClient) -> None:
    _say("Everything is lost")
    scene.clear(api)
    if scene.exists(api, scene.IMAGE):
        raise Failed(f"{scene.IMAGE} is still there after its removal")
    print(f"  removed container {scene.CONTAINER} and image {scene.IMAGE}, layers and all")


def _compare_container(api: docker.APIClient, before: dict[str, Any], verdict: Verdict) -> None:
    restored = scene.running_parts(api.inspect_image(scene.RESTORED)["Config"])
    for name in before:
        verdict.same(f"{name:<11} {before[name]}", before[name], restored[name])
    printed = scene.run_restored(api)
    look = f"cat {scene.CHANGED_FILE}; test -e {scene.DELETED_FILE} && echo is back"
    found = scene.run_inside(api, scene.RESTORED_CONTAINER, look)
    verdict.same(f"{scene.CHANGED_FILE}, as changed in the container", scene.CHANGED_TEXT, found)
    expected = 'hello, "world" for $5\n<h1>our shop</h1>\n' + scene.CHANGED_TEXT
    verdict.same("what its own command prints when run again", expected, printed)


def _engine() -> Engine:
    host = default_host()
    return Engine() if host is None else Engine.at(host)


def _write_policy(directory: Path, engine: Engine, server: SeaweedFS) -> None:
    secret = directory / "s3.secret"
    secret.touch(mode=0o600)
    secret.write_text(FULL.secret_key)
    text = POLICY.format(
        directory=directory,
        docker_host=engine.host,
        bucket=BUCKET,
        endpoint=server.endpoint,
        image=scene.IMAGE,
    )
    (directory / "config.yaml").write_text(text)
    _say("The policy, config.yaml")
    print("".join(f"  {line}\n" for line in text.splitlines()), end="")


def _say(title: str) -> None:
    print(f"\n== {title}")


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Clean up when told to end, as on Ctrl-C."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

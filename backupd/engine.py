"""One Docker engine: what it is asked and told, each in a method of its own.

How a request gets there, what becomes of an answer and which sentence of a failure is
`backupd.engine_link`'s business.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from backupd import engine_answers as shapes
from backupd.engine_answers import Shape
from backupd.engine_link import EngineStream, Link, told
from backupd.errors import EngineError, NotFound
from backupd.policy import DockerSpec

Inspect = dict[str, Any]
"""What the engine's inspect answers: JSON whose fields depend on the engine's version."""


@dataclass(frozen=True, slots=True)
class Version:
    """What the engine says of itself."""

    id: str
    version: str
    api_version: str
    storage_driver: str
    os: str
    architecture: str
    data_root: str

    def speaks(self, api_version: str) -> bool:
        """Whether the engine's API is at least `api_version`, such as `1.48`."""
        return _numbers(self.api_version) >= _numbers(api_version)


class Engine:
    """One engine. Connects at the first question; safe to use from several threads."""

    def __init__(self, spec: DockerSpec, *, host: str) -> None:
        self.host = host
        self.spec = spec
        self._link = Link(spec, host=host)
        self._version: Version | None = None

    def close(self) -> None:
        """Close all idle connections."""
        self._link.close()

    def version(self) -> Version:
        """The engine's identity, asked once."""
        if self._version is None:
            what = "cannot ask the engine for its version"
            api_version = self._link.api_version(what)
            info = self._link.get(what, "/info", shapes.THING)
            self._version = Version(
                id=str(info.get("ID", "")),
                version=str(info.get("ServerVersion", "")),
                api_version=api_version,
                storage_driver=str(info.get("Driver", "")),
                os=str(info.get("OSType", "")),
                architecture=str(info.get("Architecture", "")),
                data_root=str(info.get("DockerRootDir", "")),
            )
        return self._version

    def images(self) -> list[Inspect]:
        """A summary of every image, dangling ones included."""
        found: list[Inspect] = self._link.get(
            "cannot list images", "/images/json", shapes.LISTED_IMAGES
        )
        return found

    def containers(self) -> list[Inspect]:
        """A summary of every container that has a name, stopped ones included.

        One that is just being removed may have none.
        """
        found: list[Inspect] = self._link.get(
            "cannot list containers", "/containers/json", shapes.LISTED_CONTAINERS, all="1"
        )
        return [summary for summary in found if summary.get("Names")]

    def inspect_image(self, reference: str) -> Inspect:
        """Inspect's answer. Raises NotFound."""
        what = f"cannot inspect image {reference!r}"
        found: Inspect = self._link.get(what, f"/images/{_path(reference)}/json", shapes.IMAGE)
        return found

    def find_image(self, reference: str) -> Inspect | None:
        """Inspect's answer, or None where there is no such image."""
        try:
            return self.inspect_image(reference)
        except NotFound:
            return None

    def inspect_container(self, container: str) -> Inspect:
        """Inspect's answer with `SizeRootFs` in bytes. Raises NotFound."""
        what = f"cannot inspect container {container!r}"
        path = f"/containers/{_path(container)}/json"
        found: Inspect = self._link.get(what, path, shapes.CONTAINER, size="1")
        return found

    def inspect_state(self, container: str) -> Inspect:
        """Inspect's answer without sizes, for which the engine looks at every file. NotFound."""
        what = f"cannot inspect container {container!r}"
        found: Inspect = self._link.get(
            what, f"/containers/{_path(container)}/json", shapes.CONTAINER
        )
        return found

    def changes(self, container: str) -> int:
        """How many paths of the container differ from its image, as `docker diff` counts them."""
        found = self._link.get(
            f"cannot compare container {container!r} with its image",
            f"/containers/{_path(container)}/changes",
            shapes.CHANGES,
        )
        return len(found or [])

    def pause(self, container: str) -> None:
        """Pause all processes of a container. Raises EngineError if it is paused already."""
        self._link.post(
            f"cannot pause container {container!r}", f"/containers/{_path(container)}/pause"
        )

    def unpause(self, container: str) -> None:
        """Let a paused container go on."""
        self._link.post(
            f"cannot unpause container {container!r}", f"/containers/{_path(container)}/unpause"
        )

    def stop(self, container: str, timeout_seconds: float) -> bool:
        """Stop a container with its own signal and stop timeout; false if it did not run.

        Blocks until it has stopped. Raises EngineError after `timeout_seconds`; it may stop yet.
        """
        what = f"cannot stop container {container!r}"
        path = f"/containers/{_path(container)}/stop"
        answer = self._link.post(what, path, answer_timeout_seconds=timeout_seconds)
        return answer.status_code != _NOT_MODIFIED

    def start(self, container: str) -> None:
        """Start a container that is stopped; nothing happens to one that runs."""
        self._link.post(
            f"cannot start container {container!r}", f"/containers/{_path(container)}/start"
        )

    def exec_create(self, container: str, argv: Sequence[str], user: str | None = None) -> str:
        """The id of a command that is ready to run inside a running container."""
        body: dict[str, Any] = {"Cmd": list(argv), "AttachStdout": True, "AttachStderr": True}
        what = f"cannot run a command in container {container!r}"
        body |= {"User": user} if user else {}
        answer = self._link.post(what, f"/containers/{_path(container)}/exec", body=body)
        return str(told(answer, what, shapes.MADE)["Id"])

    def exec_start(self, exec_id: str, timeout_seconds: float) -> EngineStream:
        """Run it; what it prints, in Docker's frames; `timeout_seconds` of silence end that."""
        what = "cannot run a command in a container"
        answer = self._link.post(
            what,
            f"/exec/{_path(exec_id)}/start",
            body={"Detach": False, "Tty": False},
            answer_timeout_seconds=timeout_seconds,
            stream=True,
        )
        return EngineStream(answer, what, self.host)

    def exec_inspect(self, exec_id: str) -> Inspect:
        """Whether it runs, and its exit code."""
        what = "cannot ask how a command in a container ended"
        found: Inspect = self._link.get(what, f"/exec/{_path(exec_id)}/json", shapes.EXEC)
        return found

    def save(self, references: Sequence[str], platform: str | None = None) -> EngineStream:
        """The tar of `docker save`. Blocks until the engine has spooled the image. NotFound."""
        names = ", ".join(repr(reference) for reference in references)
        params: dict[str, Any] = {"names": list(references)}
        if platform:
            self.require("1.48", "save --platform")
            params["platform"] = platform_json(platform)
        return self._link.stream(f"cannot save image {names}", "/images/get", params)

    def export(self, container: str) -> EngineStream:
        """The tar of `docker export`. Raises NotFound."""
        what = f"cannot export container {container!r}"
        return self._link.stream(what, f"/containers/{_path(container)}/export", {})

    def load(self, chunks: Iterable[bytes], *, platform: str | None = None) -> Iterator[str]:
        """Send a plain tar to `docker load`; yields the engine's progress lines as they come.

        An exception out of `chunks` leaves the body unterminated, so the engine loads nothing, and
        comes out unchanged. Raises EngineError for an error inside the answer, which has HTTP 200.
        """
        params: dict[str, Any] = {"quiet": "0"}
        if platform:
            self.require("1.48", "load --platform")
            params["platform"] = platform_json(platform)
        what = "cannot load the image"
        yield from self._link.upload(what, "/images/load", params, chunks)

    def import_image(
        self,
        chunks: Iterable[bytes],
        *,
        repository: str | None = None,
        tag: str | None = None,
        changes: Sequence[str] = (),
        message: str | None = None,
        platform: str | None = None,
    ) -> str:
        """Send a plain tar to `docker import`; the new image's id.

        docker-py's own import has no message and no platform, so this asks the API directly
        (`POST /images/create?fromSrc=-`, Docker Engine API 1.41).
        """
        params: dict[str, Any] = {"fromSrc": "-", "changes": list(changes)}
        chosen = {"repo": repository, "tag": tag, "message": message, "platform": platform}
        params |= {name: value for name, value in chosen.items() if value}
        image_id = ""
        for line in self._link.upload(
            "cannot import the archive", "/images/create", params, chunks
        ):
            image_id = line.strip()
        return image_id

    def tag(self, image: str, reference: str) -> None:
        """Make `reference` name the image."""
        repository, tag = split_tag(reference)
        self._link.post(
            f"cannot tag image {image!r} as {reference!r}",
            f"/images/{_path(image)}/tag",
            params={"repo": repository, "tag": tag},
        )

    def remove_image(self, reference: str) -> None:
        """Remove a tag, and the image with its last one; no force, and none of its parents.

        These may be images that somebody keeps without a name.
        """
        what = f"cannot remove image {reference!r}"
        self._link.delete(what, f"/images/{_path(reference)}", noprune="1")

    def require(self, api_version: str, option: str) -> None:
        """Raise EngineError unless the engine's API has an option that came with `api_version`."""
        version = self.version()
        if not version.speaks(api_version):
            raise EngineError(
                f"cannot use {option}: engine {version.version} speaks API {version.api_version}, "
                f"the option came with API {api_version}; leave it out or upgrade the engine"
            )

    def ask(self, what: str, path: str, shape: Shape, **params: str) -> Any:
        """The answer to `GET path`, of this shape; `what` begins every error's text. NotFound."""
        return self._link.get(what, path, shape, **params)

    def tell(
        self,
        what: str,
        path: str,
        body: Mapping[str, Any],
        shape: Shape | None = None,
        **params: str,
    ) -> Any:
        """The answer to `POST path` with a JSON body: of this shape, None where none is wanted.

        Raises NotFound.
        """
        answer = self._link.post(what, path, body=body, params=params)
        return None if shape is None else told(answer, what, shape)

    def remove(self, what: str, path: str, **params: str) -> None:
        """`DELETE path`. Raises NotFound."""
        self._link.delete(what, path, **params)

    def read_files(self, container: str, path: str, *, what: str) -> EngineStream:
        """The tar of what lies at `path` in a container, also one that never ran. NotFound."""
        return self._link.stream(what, f"/containers/{_path(container)}/archive", {"path": path})

    def write_files(self, container: str, path: str, chunks: Iterable[bytes], *, what: str) -> None:
        """Unpack a plain tar at `path` in a container, also one that never ran.

        An exception out of `chunks` comes out unchanged; what was unpacked by then stays.
        """
        path_in_url = f"/containers/{_path(container)}/archive"
        self._link.put(what, path_in_url, {"path": path}, chunks)


_NOT_MODIFIED = 304
"""How the engine answers when there was nothing to stop or to start."""


def platform_json(platform: str) -> str:
    """`linux/arm64/v8` as API 1.48 and newer take it: a JSON object in the OCI's words."""
    names = ("os", "architecture", "variant")
    return json.dumps(dict(zip(names, platform.split("/"), strict=False)))


def url_path(name: str) -> str:
    """A name that a person typed or a record tells, safe inside a URL's path.

    Raises NotFound for one that climbs: clients and engines would take `../containers/web`, where a
    volume is meant, for a container, and nothing on an engine has such a name.
    """
    if not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise NotFound(f"nothing on an engine can have the name {name!r}")
    return quote(name, safe="/:@")


_path = url_path


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def layers_of(image: Inspect) -> tuple[str, ...]:
    """The diff ids of an image's layers; an image of nothing has none."""
    return tuple(image["RootFS"].get("Layers") or ())


def split_tag(reference: str) -> tuple[str, str]:
    """Repository and tag; the colon of a registry's port is none of a tag."""
    repository, colon, tag = reference.rpartition(":")
    return (reference, "latest") if not colon or "/" in tag else (repository, tag)

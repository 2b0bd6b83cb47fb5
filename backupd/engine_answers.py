"""What an engine's answers have to look like: as much of them as anything here relies on. Pure.

Engines differ in what they tell, and another program in an engine's place tells anything.
An answer with these fields can be used without a further look; every other field is kept as it
came. Field by field from the Docker Engine API 1.41 to 1.48 and Podman 4.3; Go writes an empty list
or mapping as null.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    Field,
    StrictBool,
    StrictInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

_Names = list[str] | None
_Texts = dict[str, str] | None
_Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
_Size = Annotated[StrictInt, Field(ge=0, lt=2**63)]


class _ListedMount(BaseModel):
    Type: str | None = None
    Name: str | None = None
    Source: str | None = None

    @model_validator(mode="after")
    def _volume_has_a_name(self) -> _ListedMount:
        if self.Type == "volume" and not self.Name:
            raise ValueError("a volume without a name")
        return self


class _Mount(_ListedMount):
    Destination: str


class _ListedHostConfig(BaseModel):
    NetworkMode: str | None = None


class _HostConfig(BaseModel):
    NetworkMode: str | None = None
    IpcMode: str | None = None
    PidMode: str | None = None
    VolumesFrom: _Names = None


class _ListedImage(BaseModel):
    Id: str
    RepoTags: _Names = None
    Labels: _Texts = None


class _Listed(BaseModel):
    """A container, as the listing tells of it."""

    Id: str
    ImageID: str
    Names: _Names = None
    Labels: _Texts = None
    State: str | None = None
    Mounts: list[_ListedMount] | None = None
    HostConfig: _ListedHostConfig | None = None


class _RootFS(BaseModel):
    Layers: list[_Digest] | None = None


class _Image(BaseModel):
    Id: _Digest
    RepoDigests: _Names = None
    Os: str | None = None
    Architecture: str | None = None
    Variant: str | None = None
    Comment: str | None = None
    Size: _Size | None = None
    RootFS: _RootFS


class _Config(BaseModel):
    Image: str
    Labels: _Texts = None
    StopTimeout: StrictInt | None = None


class _State(BaseModel):
    Status: str
    Running: StrictBool | None = None
    Paused: StrictBool | None = None
    ExitCode: StrictInt | None = None
    StartedAt: str | None = None


class _NetworkSettings(BaseModel):
    Networks: dict[str, Any] | None = None


class _Container(BaseModel):
    Id: str
    Name: Annotated[str, Field(pattern=r"^/?[^/]")]
    Image: str
    SizeRootFs: _Size | None = None
    Config: _Config
    State: _State
    HostConfig: _HostConfig | None = None
    Mounts: list[_Mount] | None = None
    NetworkSettings: _NetworkSettings | None = None


class _Volume(BaseModel):
    Name: str
    Driver: str | None = None
    Scope: str | None = None
    Labels: _Texts = None
    Options: dict[str, Any] | None = None


class _Volumes(BaseModel):
    Volumes: list[_Volume] | None = None


class _Pool(BaseModel):
    Subnet: str | None = None


class _Ipam(BaseModel):
    Config: list[_Pool] | None = None


class _Network(BaseModel):
    Name: str
    IPAM: _Ipam | None = None
    Containers: dict[str, dict[str, Any]] | None = None


class _Made(BaseModel):
    Id: str
    Warnings: _Names = None


class _Exec(BaseModel):
    Running: StrictBool | None = None
    ExitCode: StrictInt | None = None


class _Info(BaseModel):
    Plugins: dict[str, list[str] | None] | None = None
    Runtimes: dict[str, Any] | None = None


Shape = TypeAdapter[Any]

LISTED_IMAGES: Shape = TypeAdapter(list[_ListedImage])
LISTED_CONTAINERS: Shape = TypeAdapter(list[_Listed])
IMAGE: Shape = TypeAdapter(_Image)
CONTAINER: Shape = TypeAdapter(_Container)
VOLUME: Shape = TypeAdapter(_Volume)
VOLUMES: Shape = TypeAdapter(_Volumes)
NETWORK: Shape = TypeAdapter(_Network)
NETWORKS: Shape = TypeAdapter(list[_Network])
MADE: Shape = TypeAdapter(_Made)
EXEC: Shape = TypeAdapter(_Exec)
INFO: Shape = TypeAdapter(_Info)
CHANGES: Shape = TypeAdapter(list[Any] | None)
THING: Shape = TypeAdapter(dict[str, Any])


def oddity(answer: object, shape: Shape) -> str:
    """Where an answer is not of this shape, as `[0].Names`; "" where it is.

    Nothing of its values, which may be secret.
    """
    try:
        shape.validate_python(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in first["loc"])
        return place.lstrip(".") or "all of it"
    return ""

"""Encrypted backups on a real engine and in a real bucket, opened by backupd and by age itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
import pyrage
import pytest
import yaml
from docker.types import Mount

from tests.integration.aftermath import CANARY, the_sentence
from tests.integration.command import Command, Result
from tests.integration.conftest import WritePolicy, leaving_no_trace, store_section
from tests.integration.objects import Objects
from tests.integration.test_by_hand import decompressed
from tests.integration.trees import (
    ImageFacts,
    has_image,
    image_facts,
    image_ids,
    lose,
    make_image,
    succeeded,
)
from tests.integration.volumes import files_in, make_volume
from tests.servers.age import KeyPair, age_key, decrypt, ssh_key
from tests.servers.dockerd import Engine
from tests.servers.rootfs import file
from tests.servers.seaweedfs import SeaweedFS

IMAGE, CONTAINER, VOLUME = "backupd-test-sealed:1", "backupd-test-sealed", "backupd-test-sealed-v"
RESTORED = "backupd-test-sealed:again"
OTHER_VOLUME = "backupd-test-sealed-w"


@dataclass(frozen=True)
class Sealed:
    """An encrypted backup of each kind, and who may open it."""

    backupd: Command
    objects: Objects
    store: dict[str, Any]
    age: KeyPair
    ssh: KeyPair
    stranger: KeyPair
    image: ImageFacts

    def rows(self) -> dict[str, dict[str, Any]]:
        """Name → what the list tells of its newest backup."""
        return {row["name"]: row for row in succeeded(self.backupd("list", "--json")).json}

    def manifest(self, name: str) -> dict[str, Any]:
        """The manifest of a name's newest backup."""
        manifest: dict[str, Any] = self.backupd("show", self.rows()[name]["id"], "--json").json
        return manifest

    def stored(self, name: str) -> bytes:
        """The stored archive of a name."""
        return self.objects.read(self.rows()[name]["archive_key"])

    def record(self, name: str) -> bytes:
        """The stored record of a name."""
        return self.objects.read(f"docker/{self.manifest(name)['record']['key']}")


def policy_of(engine: Engine, backupd: Command, store: Any, *keys: str, **more: Any) -> None:
    job = {"images": [IMAGE], "containers": [CONTAINER], "volumes": [VOLUME]}
    backupd.write(
        {
            "host": "testhost",
            "state_dir": str(backupd.state_dir),
            "docker": {"host": engine.host},
            "store": store,
            **more,
            "require_encryption": True,
            "defaults": {"encryption": {"recipients": list(keys)}},
            "jobs": {"nightly": job},
        }
    )


@pytest.fixture(scope="module")
def sealed(
    engine: Engine, s3: SeaweedFS, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sealed]:
    directory = tmp_path_factory.mktemp("sealed")
    age, ssh = age_key(directory / "age.key"), ssh_key(directory / "ssh")
    stranger = age_key(directory / "stranger.key")
    backupd, store = Command(directory), store_section(s3)
    with leaving_no_trace(engine) as api:
        image = make_image(api, IMAGE)
        make_volume(api, VOLUME, {"./rows": file(b"row\n" * 9000)})
        api.create_container(
            IMAGE,
            ["sleep", "1000"],
            name=CONTAINER,
            environment=[f"PASSWORD={CANARY}"],
            host_config=api.create_host_config(
                network_mode="none", mounts=[Mount("/data", VOLUME, type="volume")]
            ),
        )
        policy_of(engine, backupd, store, age.public, ssh.public)
        succeeded(backupd("backup"))
        yield Sealed(backupd, Objects(s3, store), store, age, ssh, stranger, image)


def test_archives_and_records_are_encrypted_and_the_rest_says_for_whom(sealed: Sealed) -> None:
    keys = [key for key in sealed.objects.sizes() if "/archives/" in key]
    manifest, row = sealed.manifest(CONTAINER), sealed.rows()[CONTAINER]
    shown = succeeded(sealed.backupd("show", row["id"])).stdout
    ssh_public = " ".join(sealed.ssh.public.split()[:2])

    assert 5 == len(keys)
    assert {True} == {key.endswith(".age") for key in keys}
    assert {True} == {
        sealed.objects.read(key).startswith(b"age-encryption.org/v1\n") for key in keys
    }
    assert (
        sorted([sealed.age.public, ssh_public]) == manifest["archive"]["encryption"]["recipients"]
    )
    assert {True} == {one["encrypted"] for one in sealed.rows().values()}
    assert f"encrypted for    {sealed.age.public}" in shown
    assert f"encrypted for    {ssh_public}\n" in shown
    assert CANARY.encode() not in b"".join(map(sealed.objects.read, sealed.objects.sizes()))


@pytest.mark.parametrize("key", ["age", "ssh"])
def test_each_recipient_alone_restores_by_hand_with_age_and_zstd(
    key: str, sealed: Sealed, api: docker.APIClient
) -> None:
    pair: KeyPair = getattr(sealed, key)
    record = json.loads(decrypt(sealed.record(CONTAINER), pair))
    lose(api, IMAGE)
    list(api.load_image(decompressed(decrypt(sealed.stored(IMAGE), pair))))

    assert sealed.image == image_facts(api, IMAGE)
    assert f"PASSWORD={CANARY}" in record["container"]["Config"]["Env"]


@pytest.mark.parametrize("key", ["age", "ssh"])
def test_an_image_comes_back_with_either_identity(
    key: str, sealed: Sealed, api: docker.APIClient
) -> None:
    pair: KeyPair = getattr(sealed, key)
    lose(api, IMAGE)
    succeeded(sealed.backupd("restore", "image", IMAGE, "--identity", pair.path))

    assert sealed.image == image_facts(api, IMAGE)


def test_a_container_comes_back_as_it_ran(sealed: Sealed, api: docker.APIClient) -> None:
    succeeded(
        sealed.backupd(
            *("restore", "container", CONTAINER, "--tag", RESTORED),
            *("--identity", sealed.stranger.path, "--identity", sealed.age.path),
        )
    )

    assert f"PASSWORD={CANARY}" in api.inspect_image(RESTORED)["Config"]["Env"]


def test_a_container_is_made_again_on_another_engine_with_its_key_alone(
    sealed: Sealed, second_api: docker.APIClient, second_engine: Engine
) -> None:
    command = ("restore", "container", CONTAINER, "--create", "--docker-host", second_engine.host)
    before = image_ids(second_api)
    refused = sealed.backupd(*command)
    wrong = sealed.backupd(*command, "--identity", sealed.stranger.path)
    ids_after_refusal = image_ids(second_api)
    succeeded(sealed.backupd(*command, "--identity", sealed.ssh.path))
    made = second_api.inspect_container(CONTAINER)

    assert [2, 2] == [refused.code, wrong.code]
    assert before == ids_after_refusal
    assert f"PASSWORD={CANARY}" in made["Config"]["Env"]
    assert files_in(second_api, VOLUME)["./rows"].size_bytes == 36_000


def test_a_volume_comes_back(sealed: Sealed, api: docker.APIClient) -> None:
    command = ("restore", "volume", VOLUME, "--to", OTHER_VOLUME)
    refused = sealed.backupd(*command)
    volumes_after_refusal = {one["Name"] for one in api.volumes()["Volumes"] or ()}
    succeeded(sealed.backupd(*command, "--identity", sealed.age.path))

    assert 2 == refused.code
    assert OTHER_VOLUME not in volumes_after_refusal
    assert files_in(api, VOLUME) == files_in(api, OTHER_VOLUME)


def test_without_its_key_nothing_is_touched_and_it_is_said_whose_key_is_needed(
    sealed: Sealed, api: docker.APIClient
) -> None:
    lose(api, IMAGE)
    before = image_ids(api)
    without = sealed.backupd("restore", "image", IMAGE)
    wrong = sealed.backupd("restore", "image", IMAGE, "--identity", sealed.stranger.path)
    to_file = sealed.backupd("restore", "image", IMAGE, "--output", "image.tar")
    after = image_ids(api)
    succeeded(sealed.backupd("restore", "image", IMAGE, "--identity", sealed.age.path))

    assert (before, [2, 2, 2]) == (after, [without.code, wrong.code, to_file.code])
    assert not (sealed.backupd.directory / "image.tar").exists()
    assert "it is encrypted, and no identity is given; give the private key of" in the_sentence(
        without
    )
    assert "none of the given identities opens it" in the_sentence(wrong)
    assert sealed.age.public in the_sentence(wrong)


def test_with_the_key_verify_proves_all_of_it_and_without_it_says_what_it_saw(
    sealed: Sealed,
) -> None:
    without = sealed.backupd("verify", "--data")
    proofs_without = {name: set(row["proofs"]) for name, row in sealed.rows().items()}
    wrong = sealed.backupd("verify", "--data", "--identity", sealed.stranger.path)
    whole = succeeded(sealed.backupd("verify", "--data", "--identity", sealed.age.path))
    proofs = {name: set(row["proofs"]) for name, row in sealed.rows().items()}

    assert 0 == without.code
    assert (
        "verified 0 of 3 backups, 3 sealed: their stored bytes are right, but without the key "
        "nobody looked at the tars inside"
    ) == without.stdout.splitlines()[-1]
    assert [{"sealed"}] * 3 == list(proofs_without.values())
    assert (2, 3) == (wrong.code, wrong.stderr.count("none of the given identities opens it"))
    assert "verified 3 of 3 backups" == whole.stdout.splitlines()[-1]
    assert [{"sealed", "verified"}] * 3 == list(proofs.values())


def test_a_drill_needs_the_key(sealed: Sealed) -> None:
    without = sealed.backupd("drill", CONTAINER)
    wrong = sealed.backupd("drill", CONTAINER, "--identity", sealed.stranger.path)
    succeeded(sealed.backupd("drill", "--identity", sealed.age.path))

    assert [8, 1] == [without.code, wrong.code]
    assert "cannot be drilled: cannot read backup" in without.stderr
    assert [True] * 3 == ["drilled" in row["proofs"] for row in sealed.rows().values()]


@pytest.fixture
def fresh(
    sealed: Sealed, engine: Engine, s3: SeaweedFS, bucket: dict[str, Any], backupd: Command
) -> Sealed:
    """The same sources in a bucket of the test's own, not backed up yet."""
    policy_of(engine, backupd, bucket, sealed.age.public)
    return replace(sealed, backupd=backupd, objects=Objects(s3, bucket), store=bucket)


def states(result: Result) -> dict[str, str]:
    return {row["name"]: row["state"] for row in succeeded(result).json}


def test_check_says_which_jobs_encrypt_and_for_whom(fresh: Sealed, engine: Engine) -> None:
    jobs = {
        "nightly": {"images": [IMAGE]},
        "weekly": {"images": [IMAGE]},
        "open": {"images": [IMAGE], "encryption": "none"},
    }
    policy_of(engine, fresh.backupd, fresh.store, fresh.age.public, fresh.ssh.public)
    policy = yaml.safe_load(fresh.backupd.config.read_text())
    fresh.backupd.write({**policy, "require_encryption": False, "jobs": jobs})
    lines = succeeded(fresh.backupd("check")).stdout.splitlines()
    told = succeeded(fresh.backupd("check", "--json")).json["recipients"]
    ssh = " ".join(fresh.ssh.public.split()[:2])

    assert [
        f"stored   nightly, weekly: encrypted for {fresh.age.public} or {ssh[:20]}…{ssh[-20:]}",
        "stored   open: in the clear",
    ] == [line for line in lines if line.startswith("stored")]
    assert {
        "nightly": [fresh.age.public, ssh],
        "weekly": [fresh.age.public, ssh],
        "open": [],
    } == told


def test_an_archive_serves_again_only_for_the_same_recipients(
    fresh: Sealed, engine: Engine
) -> None:
    def backed_up(*keys: str) -> str:
        policy_of(engine, fresh.backupd, fresh.store, *keys)
        return states(fresh.backupd("backup", IMAGE, "--json"))[IMAGE]

    one, both = (fresh.age.public,), (fresh.ssh.public, fresh.age.public)
    made = [backed_up(*keys) for keys in (one, one, both, both[::-1], one)]

    assert ["saved", "unchanged", "saved", "unchanged", "unchanged"] == made


def test_a_job_that_ceases_or_begins_to_encrypt_stores_anew(
    fresh: Sealed, engine: Engine, policy: WritePolicy
) -> None:
    job: dict[str, Any] = {"nightly": {"images": [IMAGE]}}
    encrypted = {"encryption": {"recipients": [fresh.age.public]}}
    made = []
    for defaults in ({}, encrypted, {}, encrypted):
        policy(job, store=fresh.store, defaults=defaults)
        made.append(states(fresh.backupd("backup", "--json"))[IMAGE])

    assert ["saved", "saved", "unchanged", "unchanged"] == made
    assert 2 == len(fresh.objects.archives())


@pytest.mark.parametrize("place", [40, -100])
def test_a_damaged_archive_is_damage_and_the_engine_gets_nothing(
    place: int, fresh: Sealed, api: docker.APIClient
) -> None:
    succeeded(fresh.backupd("backup", IMAGE))
    key = fresh.rows()[IMAGE]["archive_key"]
    spoiled = bytearray(fresh.objects.read(key))
    spoiled[place] ^= 1
    fresh.objects.write(key, bytes(spoiled))
    lose(api, IMAGE)
    before = image_ids(api)
    restored = fresh.backupd("restore", "image", IMAGE, "--identity", fresh.age.path)
    after = image_ids(api)
    sealed_check = fresh.backupd("verify", "--data")
    make_image(api, IMAGE)

    assert (6, before) == (restored.code, after)
    assert "is damaged" in the_sentence(restored)
    assert 6 == sealed_check.code


def test_an_image_comes_back_from_a_bare_file_and_a_pipe(
    sealed: Sealed, api: docker.APIClient, tmp_path: Path, engine: Engine
) -> None:
    bare = Command(tmp_path, {"DOCKER_HOST": engine.host})
    archive = tmp_path / "image.tar.zst.age"
    archive.write_bytes(sealed.stored(IMAGE))
    lose(api, IMAGE)
    without = bare("restore", "image", "--from", archive)
    is_there_without = has_image(api, IMAGE)
    succeeded(bare("restore", "image", "--from", archive, "--identity", sealed.ssh.path))
    from_file = image_facts(api, IMAGE)
    lose(api, IMAGE)
    key = ("--identity", "${env:KEY}")
    bare.environment["KEY"] = sealed.age.path.read_text()
    succeeded(bare("restore", "image", "--from", "-", *key, stdin=archive.read_bytes()))

    assert (2, False) == (without.code, is_there_without)
    assert "it is encrypted, and no identity is given" in the_sentence(without)
    assert [sealed.image] * 2 == [from_file, image_facts(api, IMAGE)]


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"", 0o600, "names a file that is empty"),
        (f"AGE-SECRET-KEY-1{CANARY}".encode(), 0o600, "has a line that is no identity"),
        (b"age1", 0o600, "holds a public key"),
        (b"anything", 0o604, "everyone on this machine may read"),
        (bytes(100_000), 0o600, "more than 64 KiB"),
    ],
)
def test_a_file_that_is_no_identity_is_refused_before_anything(
    content: bytes, mode: int, words: str, sealed: Sealed, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(mode)

    result = sealed.backupd("restore", "image", IMAGE, "--identity", path)

    assert 2 == result.code
    assert words in the_sentence(result)


def test_a_key_on_the_command_line_is_refused_and_not_repeated(sealed: Sealed) -> None:
    secret = sealed.age.path.read_text().split()[-1]

    result = sealed.backupd("restore", "image", IMAGE, "--identity", secret)

    assert (2, False) == (result.code, secret in result.stderr)


def test_a_passphrase_is_asked_at_the_terminal_alone(sealed: Sealed, tmp_path: Path) -> None:
    protected = tmp_path / "protected"
    protected.write_bytes(pyrage.passphrase.encrypt(sealed.age.path.read_bytes(), CANARY))
    protected.chmod(0o600)
    command = ("verify", IMAGE, "--data", "--identity", protected)

    without = sealed.backupd(*command, before=["setsid", "--wait"])
    typed = typing(sealed.backupd, CANARY, *command)
    mistyped = typing(sealed.backupd, "another", *command)

    assert 2 == without.code
    assert "there is no terminal to type it at" in the_sentence(without)
    assert (0, "verified 1 of 1 backups") == (typed.code, typed.stdout.splitlines()[-1])
    assert (2, True) == (mistyped.code, "does not open with this passphrase" in mistyped.stderr)
    assert CANARY not in typed.stdout + typed.stderr


def typing(backupd: Command, text: str, *arguments: str | Path) -> Result:
    """The command at a terminal of its own, at which `text` is typed when it asks."""
    ours, theirs = os.openpty()
    at_it = f'exec setsid --ctty --wait "$@" < {os.ttyname(theirs)}'
    process = backupd.start(*arguments, before=["sh", "-c", at_it, "sh"])
    os.read(ours, 1)  # it asks
    os.write(ours, f"{text}\n".encode())
    output, errors = process.communicate(timeout=180)
    os.close(theirs)
    os.close(ours)
    return Result(process.returncode, output, errors.decode())


def test_the_identity_of_the_policy_serves_verify_and_drill(fresh: Sealed, engine: Engine) -> None:
    identity = f"${{file:{fresh.age.path}}}"
    policy_of(engine, fresh.backupd, fresh.store, fresh.age.public, identity=identity)
    succeeded(fresh.backupd("backup"))

    assert "verified 3 of 3 backups" in succeeded(fresh.backupd("verify", "--data")).stdout
    assert "proved 3 of 3 sources" in succeeded(fresh.backupd("drill")).stdout


def test_a_policy_that_would_store_in_the_clear_is_refused_where_that_is_forbidden(
    fresh: Sealed,
) -> None:
    text = fresh.backupd.config.read_text()
    fresh.backupd.config.write_text(text + "    encryption: none\n")

    result = fresh.backupd("backup")

    assert 2 == result.code
    assert "jobs.nightly.encryption: would store in the clear" in the_sentence(result)
    assert {} == fresh.objects.sizes()

"""The policy file: every mistake a person makes gets its line, its path and a way out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backupd.config import Loaded, default_path, load
from backupd.errors import PolicyError

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a policy that only its owner may read."""

    def write_policy(content: str | bytes) -> Path:
        path = tmp_path / "config.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o600)
        return path

    return write_policy


def refusal(path: Path, **environ: str) -> list[str]:
    """The problems of the policy at `path`, without its directory."""
    with pytest.raises(PolicyError) as error:
        load(path, environ=environ)
    return [str(one).removeprefix(f"{path.parent}/") for one in error.value.problems]


def job(*lines: str) -> str:
    """A policy of one job with these lines, the first of them in line 3."""
    return "jobs:\n  nightly:\n" + "".join(f"    {line}\n" for line in lines)


def test_a_policy_is_read(write: Write) -> None:
    loaded = load(write(job("images: [nginx]", "schedule: 0 3 * * *")), environ={})

    assert (loaded.policy.jobs["nightly"].schedule, loaded.warnings) == ("0 3 * * *", ())


def test_the_policy_is_where_the_environment_says() -> None:
    assert [
        Path("/a/b.yaml"),
        Path("/etc/backupd/config.yaml"),
        Path("/etc/backupd/config.yaml"),
    ] == [
        default_path({"BACKUPD_CONFIG": "/a/b.yaml"}),
        default_path({"BACKUPD_CONFIG": ""}),
        default_path({}),
    ]


def test_all_problems_come_at_once_in_the_files_order(write: Write) -> None:
    path = write(
        "timezone: Europe/Berln\n"
        "stoer: {}\n"
        "jobs:\n"
        "  nightly:\n"
        "    shedule: '@daily'\n"
        "    images: [1.10, nginx, {image: a, label: b}]\n"
        "    retention: {keep_dialy: 7}\n"
        "  weekly: {}\n"
    )

    found = refusal(path)

    expected = [
        "config.yaml:1: timezone: 'Europe/Berln' is not a time zone that this machine knows; "
        "did you mean Europe/Berlin?",
        "config.yaml:2: stoer: is not a known key; did you mean 'store'?",
        "config.yaml:5: jobs.nightly.shedule: is not a known key; did you mean 'schedule'?",
        'config.yaml:6: jobs.nightly.images[0]: is read as a number, not as text; write "1.10"',
        "config.yaml:6: jobs.nightly.images[2]: has 'image' and 'label', but one selector has one "
        "of 'image', 'label', 'in_use' or 'bundle'; make two of it",
        "config.yaml:7: jobs.nightly.retention.keep_dialy: is not a known key; "
        "did you mean 'keep_daily'?",
        "config.yaml:8: jobs.weekly: selects nothing; name something under 'images', "
        "'containers' or 'volumes'",
    ]
    assert expected == found


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("1.10", "a number"),
        ("22:00", "a number"),
        ("010", "a number"),
        ("0x1f", "a number"),
        ("1_000", "a number"),
        ("123", "a number"),
        ("9" * 5000, "a number"),
        (".inf", "a number"),
        ("off", "a truth value"),
        ("Yes", "a truth value"),
        ("2026-05-01", "a date"),
    ],
)
@pytest.mark.parametrize("key", ["host", "timezone", "state_dir"])
def test_what_yaml_takes_for_something_else_is_told_how_to_be_text(
    write: Write, raw: str, kind: str, key: str
) -> None:
    [problem] = refusal(write(f"{key}: {raw}\n{job('images: [a]')}"))

    shown = raw if len(raw) <= 80 else raw[:77] + "…"
    assert f'config.yaml:1: {key}: is read as {kind}, not as text; write "{shown}"' == problem


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("images: nginx", 'jobs.nightly.images: must be a list; write ["nginx"]'),
        ("images: {image: a}", "jobs.nightly.images: must be a list; write each entry in its own"),
        ("images: [[a]]", "jobs.nightly.images[0]: must be a text, not a list"),
        ("images: [{image: 22:00}]", "jobs.nightly.images[0].image: is read as a number, not as"),
        ("images: [{in_use: false}]", "jobs.nightly.images[0].in_use: can only be true; write"),
        ("images: [{label: a, platform: b}]", "jobs.nightly.images[0].platform: does not belong"),
        ("images: [{bundle: a}]", "jobs.nightly.images[0]: needs 'images'"),
        ("images: ['Nginx:1']", "jobs.nightly.images[0]: 'Nginx:1' has upper-case letters"),
        ("containers: [{name: a, pause: 1}]", "jobs.nightly.containers[0].pause: '1' is neither"),
        ("containers: [a]\n    images:", "jobs.nightly.images: has no value; give it one, or"),
        ("images: [a, ]\n    exclude: [~]", "jobs.nightly.exclude[0]: has no value; give it one"),
        ("images: [a]\n    retention: []", "jobs.nightly.retention: must be a mapping of keys and"),
        ("images: [a]\n    compression: {zstd: 010}", "jobs.nightly.compression: has a level that"),
        ("images: [!!python/name:os.system a]", "jobs.nightly.images[0]: has a YAML tag"),
        ("images: [!!set {a}]", "jobs.nightly.images[0]: has a YAML tag"),
        ("images: [!x a]", "jobs.nightly.images[0]: has a YAML tag (!…), which a policy"),
        ("? [a]\n    : b\n    images: [a]", "jobs.nightly: has a list or mapping for a key"),
        ("images: [a]\n    <<: [x]", "jobs.nightly.<<: merges something that is not a mapping"),
    ],
)
def test_a_wrong_value_in_a_job_gets_one_plain_sentence(
    write: Write, line: str, problem: str
) -> None:
    [found] = refusal(write(job(line)))

    assert problem in found.replace("'<<'", "<<")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("uploads: '3'", "store.uploads: must be a number; write 3 without quotes"),
        ("uploads: 03", "store.uploads: '03' is not a whole number, such as 3"),
        ("uploads: 17", "store.uploads: '17' must be at most 16"),
        ("part_size: 1MiB", "store.part_size: '1MiB' must be at least 5MiB"),
        (
            "addressing: dns",
            "store.addressing: 'dns' is not known here; write auto, path or virtual",
        ),
        ("region: eu central", "store.region: 'eu central' has signs other than letters"),
        ("region: ''", "store.region: '' has signs other than letters"),
        ("sse_kms_key: ''", "store.sse_kms_key: is empty; give it a value, or remove the key"),
        ("endpoint: s3.example.com", "store.endpoint: 's3.example.com' needs a scheme; write"),
        ("endpoint: https://AKIA:s3/cr3t@host", "store.endpoint: 'https://…@host' "),
        ("sse_kms_key: k", "store: 'sse_kms_key' needs 'sse: aws:kms' beside it"),
        ("bukcet: a", "store.bukcet: is not a known key; known here: access_key, addressing"),
    ],
)
def test_a_wrong_value_of_the_store_gets_one_plain_sentence(
    write: Write, line: str, problem: str
) -> None:
    [found] = refusal(write(f"store:\n  url: s3://my-backups\n  {line}\n{job('images: [a]')}"))

    assert f"config.yaml:{1 if problem.startswith('store: ') else 3}: {problem}" in found


def test_a_password_in_a_stores_address_is_not_repeated(write: Write) -> None:
    [found] = refusal(
        write(f"store: {{url: 's3://AKIA:s3/cr3t@my-backups'}}\n{job('images: [a]')}")
    )

    assert "store.url: 's3://…@my-backups' has a bucket name" in found


@pytest.mark.parametrize("raw", ["123", "010", "1.5", "off", "2026-05-01"])
def test_a_secret_without_quotes_is_not_repeated(write: Write, raw: str) -> None:
    path = write(
        f"store:\n  url: s3://b-c\n  access_key: a\n  secret_key: {raw}\n{job('images: [a]')}"
    )

    [found] = refusal(path)

    assert ("write it in quotes" in found, raw in found.partition(": ")[2]) == (True, False)


@pytest.mark.parametrize("key", ["22:00", "off", "123", "1.10", "~"])
def test_a_key_that_yaml_does_not_take_for_text_must_be_quoted(write: Write, key: str) -> None:
    found = refusal(write(f"jobs:\n  {key}: {{images: [a]}}\n"))

    assert f'write "{key}"' in found[0]


def test_a_key_that_stands_twice_is_refused_with_both_lines(write: Write) -> None:
    found = refusal(write(job("images: [a]", "schedule: '@daily'", "images: [b]")))

    assert found == ["config.yaml:5: jobs.nightly.images: stands twice, also in line 3; remove one"]


def test_a_job_that_stands_twice_is_refused(write: Write) -> None:
    found = refusal(write(f"{job('images: [a]')}  nightly:\n    images: [b]\n"))

    assert found == ["config.yaml:4: jobs.nightly: stands twice, also in line 2; remove one"]


def test_a_name_with_dots_is_quoted_in_a_path(write: Write) -> None:
    found = refusal(write("jobs:\n  a.b: {imges: [a]}\n"))

    assert "config.yaml:2: jobs.'a.b'.imges: is not a known key; did you mean 'images'?" in found


def test_a_missing_section_is_named(write: Write) -> None:
    assert refusal(write("timezone: UTC\n")) == ["config.yaml:1: needs 'jobs'"]


def test_jobs_written_as_a_list_are_refused(write: Write) -> None:
    [found] = refusal(write("jobs:\n  - images: [a]\n"))

    assert "config.yaml:1: jobs: must be a mapping: each entry begins with its name" in found


def test_anchors_and_merge_keys_save_repetition(write: Write) -> None:
    path = write(
        "x-usual: &usual\n"
        "  schedule: '@daily'\n"
        "  exclude: &tests ['*:test']\n"
        "jobs:\n"
        "  one: {<<: *usual, images: [a]}\n"
        "  two: {images: [b], schedule: '@weekly', <<: *usual}\n"
        "  three: {images: [c], exclude: *tests}\n"
    )

    jobs = load(path, environ={}).policy.jobs

    expected = [("@daily", ("*:test",)), ("@weekly", ("*:test",)), (None, ("*:test",))]
    assert expected == [(one.schedule, one.exclude) for one in jobs.values()]


def test_a_mistake_in_a_merged_part_is_shown_where_it_stands(write: Write) -> None:
    path = write("x-usual: &usual\n  schedule: 3\njobs:\n  one: {<<: *usual, images: [a]}\n")

    found = refusal(path)

    assert found == [
        'config.yaml:2: jobs.one.schedule: is read as a number, not as text; write "3"'
    ]


def test_aliases_that_multiply_are_refused(write: Write) -> None:
    lines = ["x-a0: &a0 [a, a, a, a, a, a, a, a, a, a]"]
    lines += [f"x-a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    [found] = refusal(write("\n".join(lines)))

    assert "has aliases (*name) that repeat themselves without end" in found


def test_an_alias_to_itself_is_refused(write: Write) -> None:
    [found] = refusal(write("jobs: &a\n  nightly: *a\n"))

    assert "has aliases (*name) that repeat themselves without end" in found


def test_deep_nesting_is_refused(write: Write) -> None:
    [found] = refusal(write("jobs: " + "[" * 10_000))

    assert "config.yaml:1: is nested deeper than" in found


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "config.yaml:1: is empty; start from config.example.yaml"),
        (b"# nothing\n", "config.yaml:1: is empty"),
        (b"jobs: \xff\n", "config.yaml:1: has bytes that are not UTF-8"),
        (b"jobs:\n  a\x00b\n", "config.yaml:2: has a control character"),
        (b"a" * (1024**2 + 1), "config.yaml: is larger than 1 MiB"),
        (b"- a\n", "config.yaml:1: must be a mapping of keys and values"),
        (b"just a text\n", "config.yaml:1: must be a mapping of keys and values"),
        (b"a: 1\n---\nb: 2\n", "config.yaml:2: has a second document"),
    ],
)
def test_a_file_that_is_no_policy_gets_one_sentence(
    write: Write, content: bytes, problem: str
) -> None:
    [found] = refusal(write(content))

    assert found.startswith(problem)


def test_a_byte_order_mark_does_no_harm(write: Write) -> None:
    loaded = load(write(b"\xef\xbb\xbf" + job("images: [a]").encode()), environ={})

    assert list(loaded.policy.jobs) == ["nightly"]


def test_a_file_that_is_not_there_says_where_one_goes(tmp_path: Path) -> None:
    [found] = refusal(tmp_path / "config.yaml")

    assert "config.yaml: does not exist; write a policy there" in found


def test_a_directory_is_no_policy(tmp_path: Path) -> None:
    [found] = refusal(tmp_path)

    assert found.endswith(": is a directory; name the file in it")


def test_a_pipe_is_no_policy_and_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")

    [found] = refusal(tmp_path / "config.yaml")

    assert found == "config.yaml: is not a file"


def test_a_path_that_no_file_can_have_is_refused() -> None:
    [found] = refusal(Path("/a\0b"))

    assert "cannot be read; check the path" in found


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Runs a test without root's right to read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


@pytest.fixture
def unreadable(write: Write) -> Path:
    path = write(job("images: [a]"))
    path.chmod(0)
    return path


# The order of the fixtures matters: the file is written first.
@pytest.mark.usefixtures("unreadable", "as_nobody")
def test_a_policy_that_this_user_may_not_read_says_so(unreadable: Path) -> None:
    [found] = refusal(unreadable)

    assert "may not be read by this user; run as root or as its owner" in found


def test_a_loaded_policy_is_a_value(write: Write) -> None:
    path = write(job("images: [a]"))

    assert isinstance(load(path, environ={}), Loaded)
    assert load(path, environ={}) == load(path, environ={})

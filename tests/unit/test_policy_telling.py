"""The policy's metrics, notify and ping: forms, limits, and addresses that are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from backupd.config import Loaded, load
from backupd.errors import PolicyError
from backupd.policy import Ping, Policy

JOBS = "jobs: {nightly: {images: [nginx]}}\n"
CANARY = "canary-7431"


def read(directory: Path, text: str, *, mode: int = 0o600, **environ: str) -> Loaded:
    path = directory / "config.yaml"
    path.write_text(text + JOBS)
    path.chmod(mode)
    return load(path, environ=environ)


def refusal(directory: Path, text: str, *, mode: int = 0o600) -> str:
    with pytest.raises(PolicyError) as error:
        read(directory, text, mode=mode)
    return str(error.value)


def urls(ping: Ping | None) -> list[str | None]:
    assert ping is not None
    return [
        url.get_secret_value() if url else None for url in (ping.start, ping.success, ping.fail)
    ]


def test_nobody_is_told_unless_the_policy_says_so(tmp_path: Path) -> None:
    policy = read(tmp_path, "").policy

    assert (None, None, None) == (policy.metrics, policy.notify, policy.ping)


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("{}", ("127.0.0.1", 9532)),
        ("{listen: 127.0.0.1:9999}", ("127.0.0.1", 9999)),
        ('{listen: "localhost:9532"}', ("127.0.0.1", 9532)),
        ('{listen: "[::1]:9532"}', ("::1", 9532)),
    ],
)
def test_metrics_listen_on_loopback_without_a_warning(
    tmp_path: Path, written: str, address: tuple[str, int]
) -> None:
    loaded = read(tmp_path, f"metrics: {written}\n")

    assert loaded.policy.metrics is not None
    assert (address, ()) == (loaded.policy.metrics.address, loaded.warnings)


@pytest.mark.parametrize("listen", ["0.0.0.0:9532", "[::]:9532", "10.0.0.1:9532"])
def test_an_address_that_others_reach_is_warned_about(tmp_path: Path, listen: str) -> None:
    (warning,) = read(tmp_path, f'metrics: {{listen: "{listen}"}}\n').warnings

    assert warning.startswith(
        f"{tmp_path}/config.yaml:1: metrics.listen: is not this machine alone"
    )


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("9532", "has no IP address"),
        (":9532", "has no IP address"),
        ("web01:9532", "has no IP address"),
        ("127.0.0.1", "has no port"),
        ("127.0.0.1:0", "has no port"),
        ("127.0.0.1:70000", "has no port"),
        ("::1:9532", "needs [ ]"),
        ("[127.0.0.1]:9532", "needs [ ]"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_refused(
    tmp_path: Path, listen: str, words: str
) -> None:
    assert words in refusal(tmp_path, f'metrics: {{listen: "{listen}"}}\n')


def test_notify_tells_of_failures_and_recoveries_by_default(tmp_path: Path) -> None:
    notify = read(tmp_path, "notify: {urls: ['ntfys://ntfy.sh/a']}\n").policy.notify

    assert notify is not None
    assert (("failure", "recovery"), 30.0) == (notify.when, notify.timeout.total_seconds())


def test_an_address_comes_from_a_file_or_a_credential(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("ntfys://ntfy.sh/a\n")
    (tmp_path / "url").chmod(0o600)
    text = (
        f"notify: {{urls: ['${{file:{tmp_path}/url}}']}}\nping: '${{credential:url}}'\n"
    ).replace("ntfys", "https")
    (tmp_path / "url").write_text("https://ntfy.sh/a\n")

    policy = read(tmp_path, text, CREDENTIALS_DIRECTORY=str(tmp_path)).policy

    assert policy.notify is not None
    assert "https://ntfy.sh/a" == policy.notify.urls[0].get_secret_value()
    assert "https://ntfy.sh/a" == urls(policy.ping)[1]


def test_one_address_of_a_ping_stands_for_three(tmp_path: Path) -> None:
    ping = read(tmp_path, "ping: https://hc-ping.com/uuid?create=1\n").policy.ping

    assert [
        "https://hc-ping.com/uuid/start?create=1",
        "https://hc-ping.com/uuid?create=1",
        "https://hc-ping.com/uuid/fail?create=1",
    ] == urls(ping)


def test_each_address_of_a_ping_may_stand_by_itself(tmp_path: Path) -> None:
    ping = read(tmp_path, "ping: {fail: 'http://a.example/no'}\n").policy.ping

    assert [None, None, "http://a.example/no"] == urls(ping)


def test_a_job_has_its_own_ping_or_the_policys() -> None:
    policy = Policy.model_validate(
        {
            "ping": "https://a.example/all",
            "jobs": {
                "own": {"images": ["a"], "ping": "https://a.example/own"},
                "other": {"images": ["a"]},
            },
        }
    )

    found = {name: urls(policy.ping_of(job))[1] for name, job in policy.jobs.items()}

    assert {"own": "https://a.example/own", "other": "https://a.example/all"} == found


def test_a_job_may_be_called_ping_or_urls(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("jobs: {ping: {images: [a]}, urls: {images: [b]}}\n")

    assert ["ping", "urls"] == list(load(path, environ={}).policy.jobs)


@pytest.mark.parametrize(
    "text",
    [
        f"notify: {{urls: ['{CANARY}']}}\n",
        f"notify: {{urls: ['slack://{CANARY} ']}}\n",
        f"notify: {{urls: slack://{CANARY}}}\n",
        f"notify: slack://{CANARY}\n",
        f"notify: [slack://{CANARY}]\n",
        f"notify: {{slack://{CANARY}}}\n",
        f"notify: {{urls: [[slack://{CANARY}]]}}\n",
        f"notify: {{urls: {{a: slack://{CANARY}}}}}\n",
        f"notify:\n  urls:\n    - slack://{CANARY}: b\n",
        f"notify:\n  urls:\n    - mailto://{CANARY}: b: c\n",
        f"notify:\n  urls:\n    - *slack://{CANARY}\n",
        f"ping: ftp://{CANARY}\n",
        f"ping: {CANARY}\n",
        f"ping: @{CANARY}\n",
        f"ping: [https://{CANARY}]\n",
        f"ping: {{https://{CANARY}}}\n",
        f"ping: {{start: {CANARY}}}\n",
        f"ping: {{start: [https://{CANARY}]}}\n",
        f"ping: {{begin: https://{CANARY}}}\n",
        f"ping: https://{CANARY}:port/\n",
        f"jobs: {{a: {{images: [b], ping: {CANARY}}}}}\nx-a: {{}}\n#",
    ],
)
def test_no_problem_shows_an_address(tmp_path: Path, text: str) -> None:
    said = refusal(tmp_path, text)

    assert said
    assert CANARY not in said


def test_no_model_shows_an_address(tmp_path: Path) -> None:
    text = f"notify: {{urls: ['slack://{CANARY}']}}\nping: https://{CANARY}/\n"

    policy = read(tmp_path, text).policy

    assert CANARY not in f"{policy!r} {policy} {policy.model_dump()} {policy.model_dump_json()}"


def test_an_address_in_a_policy_that_everyone_may_read_is_warned_about_once(
    tmp_path: Path,
) -> None:
    text = f"notify: {{urls: ['slack://{CANARY}']}}\nping: https://{CANARY}/\n"

    warnings = read(tmp_path, text, mode=0o644).warnings

    assert ["notify.urls[0]", "ping"] == [warning.split(": ")[1] for warning in warnings]
    assert CANARY not in "".join(warnings)


def test_an_address_in_a_file_that_everyone_may_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://hc-ping.com/uuid\n")
    (tmp_path / "url").chmod(0o644)

    assert "chmod o=" in refusal(tmp_path, f"ping: ${{file:{tmp_path}/url}}\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("notify: {urls: []}\n", "name at least one"),
        ("notify: {urls: ['ntfy://a'], when: []}\n", "name at least one"),
        ("notify: {urls: ['ntfy://a'], when: [success]}\n", "write failure, recovery or always"),
        ("notify: {urls: ['ntfy://a'], timeout: 11m}\n", "must be 1s to 10m"),
        ("notify: {}\n", "needs 'urls'"),
        ("ping: {}\n", "names no address"),
        ("ping: {begin: 'https://a'}\n", "is not a known key; known here: fail, start, success"),
    ],
)
def test_a_wrong_form_is_explained(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(tmp_path, text)

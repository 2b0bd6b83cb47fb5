"""The metrics' web server, over real sockets, and what becomes of it at a reload."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from prometheus_client.parser import text_string_to_metric_families

from backupd.daemon.listeners import Listener
from backupd.policy import Policy
from backupd.run_record import Past
from backupd.telling import DaemonView, Memory, Outlook, listeners_of
from backupd.telling.exporter import Front
from backupd.telling.server import MOST_CLIENTS
from tests.integration.aftermath import wait_until
from tests.servers.receiver import Receiver
from tests.unit.runs import SAVED, START, run

TIMEOUT_SECONDS = 30


def free_port(address: str = "127.0.0.1") -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def policy(**sections: object) -> Policy:
    return Policy.model_validate({**sections, "jobs": {"nightly": {"images": ["a"]}}})


@dataclass
class Daemon:
    """What stands for the daemon; its listeners are closed after the test."""

    ailment: str | None = ""
    """None for a daemon that fails when it is asked."""
    memory: Memory = field(default_factory=Memory)
    listeners: list[Listener] = field(default_factory=list)

    @property
    def view(self) -> DaemonView:
        return DaemonView(
            host="web01",
            now=lambda: START,
            past_of=lambda _: Past(),
            pasts=lambda: {"nightly": Past(last=run("good", SAVED), last_good=run("good", SAVED))},
            outlooks=lambda: {"nightly": Outlook()},
            ailment=self.tell_ailment,
        )

    def tell_ailment(self) -> str:
        if self.ailment is None:
            raise RuntimeError("broken")
        return self.ailment

    def reload(self, given: Policy) -> list[Listener]:
        old, self.listeners = self.listeners, listeners_of(given, self.view, self.memory)
        for listener in old:
            listener.close()
        return self.listeners


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    yield made
    made.reload(policy())


def get(
    port: int, path: str, *, method: str = "GET", address: str = "127.0.0.1"
) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def answers(port: int) -> bool:
    """Whether our pages are there."""
    try:
        return get(port, "/healthz") == (200, "all is fresh\n")
    except (OSError, http.client.HTTPException):
        return False


def sample(port: int, name: str) -> float | None:
    families = text_string_to_metric_families(get(port, "/metrics")[1])
    samples = {one.name: one.value for family in families for one in family.samples}
    return samples.get(name)


def test_a_scrape_shows_what_was_told(daemon: Daemon) -> None:
    port = free_port()
    (exporter,) = daemon.reload(policy(metrics={"listen": f"127.0.0.1:{port}"}))

    exporter.job_started("nightly", START)
    during = sample(port, "backupd_job_running")
    exporter.job_ended(run("failed", minutes=60), recovered=False)

    assert (1.0, 0.0, 1.0) == (
        during,
        sample(port, "backupd_job_running"),
        sample(port, "backupd_job_failures_total"),
    )


def test_the_history_is_known_from_the_start(daemon: Daemon) -> None:
    port = free_port()
    daemon.reload(policy(metrics={"listen": f"127.0.0.1:{port}"}))

    ended = run("good", SAVED).ended_at
    assert ended is not None
    assert ended.timestamp() == sample(port, "backupd_job_last_success_timestamp_seconds")


def test_healthz_says_what_is_not_fresh(daemon: Daemon) -> None:
    port = free_port()
    daemon.reload(policy(metrics={"listen": f"127.0.0.1:{port}"}))

    well = get(port, "/healthz")
    daemon.ailment = "job nightly is late"

    assert (200, "all is fresh\n") == well
    assert (503, "job nightly is late\n") == get(port, "/healthz")


def test_there_is_nothing_else(daemon: Daemon) -> None:
    port = free_port()
    daemon.reload(policy(metrics={"listen": f"127.0.0.1:{port}"}))

    assert (200, 404, 501) == (
        get(port, "/")[0],
        get(port, "/etc/passwd")[0],
        get(port, "/metrics", method="POST")[0],
    )
    assert (200, "") == get(port, "/metrics", method="HEAD")


def test_it_listens_on_ipv6_too(daemon: Daemon) -> None:
    port = free_port("::1")
    daemon.reload(policy(metrics={"listen": f"[::1]:{port}"}))

    assert 200 == get(port, "/healthz", address="::1")[0]


def test_a_failure_of_the_daemon_is_an_answer_and_a_line_of_the_log(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    daemon.reload(policy(metrics={"listen": f"127.0.0.1:{port}"}))
    daemon.ailment = None

    answer = get(port, "/healthz")

    assert (500, "something failed; the log says what\n") == answer
    assert ["cannot show /healthz"] == caplog.messages


def test_silent_clients_take_only_their_own_places(daemon: Daemon) -> None:
    port = free_port()
    daemon.reload(policy(metrics={"listen": f"127.0.0.1:{port}"}))
    address = ("127.0.0.1", port)

    silent = [socket.create_connection(address, TIMEOUT_SECONDS) for _ in range(MOST_CLIENTS)]
    try:
        with socket.create_connection(address, TIMEOUT_SECONDS) as one_more:
            turned_away = one_more.recv(1)
    finally:
        for one in silent:
            one.close()

    assert b"" == turned_away


def test_a_taken_port_is_one_sentence_and_a_trouble(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Receiver() as receiver:
        listeners = daemon.reload(
            policy(
                metrics={"listen": receiver.address},
                ping={"fail": f"http://{receiver.address}/no"},
            )
        )
        told = receiver.next()

    sentence = (
        f"cannot listen on {receiver.address} for metrics: address already in use; free it, or "
        "choose another under metrics.listen"
    )
    assert ([sentence], 2) == (caplog.messages, len(listeners))
    assert ("/no", True) == (told.path, sentence in told.body)


def test_a_taken_port_is_tried_until_it_is_free(daemon: Daemon) -> None:
    daemon.memory.front = Front(retry_seconds=0.05)
    with Receiver() as receiver:
        port = receiver.port
        exporter, *_ = daemon.reload(policy(metrics={"listen": receiver.address}))
        exporter.job_ended(run("failed", minutes=60), recovered=False)

    wait_until(lambda: answers(port))

    assert 1.0 == sample(port, "backupd_job_failures_total")


def test_a_port_that_nobody_wants_any_more_is_not_tried_again(daemon: Daemon) -> None:
    daemon.memory.front = Front(retry_seconds=0.05)
    port = free_port()
    with Receiver() as receiver:
        daemon.reload(policy(metrics={"listen": receiver.address}))
        daemon.reload(policy(metrics={"listen": f"127.0.0.1:{port}"}))
    wait_until(lambda: not any(one.name == "metrics-retry" for one in threading.enumerate()))

    assert (True, False) == (answers(port), answers(receiver.port))


def test_a_reload_to_a_taken_port_leaves_the_metrics_where_they_were(daemon: Daemon) -> None:
    port = free_port()
    daemon.reload(policy(metrics={"listen": f"127.0.0.1:{port}"}))
    with Receiver() as receiver:
        exporter, *_ = daemon.reload(policy(metrics={"listen": receiver.address}))
        exporter.job_ended(run("failed", minutes=60), recovered=False)

        assert 1.0 == sample(port, "backupd_job_failures_total")


EVERYWHERE, HERE = "0.0.0.0", "127.0.0.1"  # noqa: S104  # the one takes the port of the other


@pytest.mark.parametrize("others", [(HERE, EVERYWHERE), (EVERYWHERE, HERE)])
def test_a_reload_changes_the_address_on_the_same_port(
    daemon: Daemon, others: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    for address in others:
        daemon.reload(policy(metrics={"listen": f"{address}:{port}"}))

    assert ([], 200) == (caplog.messages, get(port, "/healthz")[0])


def test_an_address_that_this_machine_lacks_leaves_the_metrics_where_they_were(
    daemon: Daemon,
) -> None:
    port = free_port()
    daemon.reload(policy(metrics={"listen": f"127.0.0.1:{port}"}))

    daemon.reload(policy(metrics={"listen": f"192.0.2.1:{port}"}))

    assert answers(port)


def test_a_reload_keeps_the_port_and_the_counts(daemon: Daemon) -> None:
    port = free_port()
    given = policy(metrics={"listen": f"127.0.0.1:{port}"})
    (first,) = daemon.reload(given)
    first.job_ended(run("failed", minutes=60), recovered=False)

    (second,) = daemon.reload(given)
    second.job_ended(run("failed", minutes=120), recovered=False)

    assert 2.0 == sample(port, "backupd_job_failures_total")


def test_a_reload_moves_to_another_port(daemon: Daemon) -> None:
    old, new = free_port(), free_port()
    daemon.reload(policy(metrics={"listen": f"127.0.0.1:{old}"}))

    daemon.reload(policy(metrics={"listen": f"127.0.0.1:{new}"}))

    assert 200 == get(new, "/healthz")[0]
    with pytest.raises(ConnectionRefusedError):
        get(old, "/healthz")


def test_a_reload_without_metrics_stops_listening(daemon: Daemon) -> None:
    port = free_port()
    daemon.reload(policy(metrics={"listen": f"127.0.0.1:{port}"}))

    daemon.reload(policy())

    with pytest.raises(ConnectionRefusedError):
        get(port, "/healthz")


def test_listeners_closed_before_the_reload_leave_the_port_free_for_it(daemon: Daemon) -> None:
    port = free_port()
    given = policy(metrics={"listen": f"127.0.0.1:{port}"})
    (first,) = daemon.reload(given)

    first.close()
    daemon.reload(given)

    assert 200 == get(port, "/healthz")[0]


def test_a_policy_that_asks_for_nothing_has_no_listeners(daemon: Daemon) -> None:
    assert [] == daemon.reload(policy())

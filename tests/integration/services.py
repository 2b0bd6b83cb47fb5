"""A small web service for tests: a program that answers over HTTP out of a file on a volume."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

import docker

from tests.integration.aftermath import wait_until
from tests.integration.trees import run_inside
from tests.servers.dockerd import Engine
from tests.servers.rootfs import build_image, file, program

IMAGE = "backupd-test-web:1"
PORT, PUBLISHED = 8080, 18080
DATABASE = "/data/rows"

SERVER = r"""
# Perl without a single module: numbers as Linux has them (AF_INET, SOCK_STREAM, SO_REUSEADDR).
socket(my $server, 2, 1, 6) or die "socket: $!";
setsockopt($server, 1, 2, pack("i", 1));
bind($server, pack("S n a4 x8", 2, 8080, "\0\0\0\0")) or die "bind: $!";
listen($server, 16) or die "listen: $!";
$SIG{TERM} = sub { exit 0 };
while (accept(my $client, $server)) {
    my $asked = <$client>;
    while (my $line = <$client>) { last if $line =~ /^\r?\n$/ }
    open(my $file, "<", "/data/rows") or die "rows: $!";
    my $rows = join("", <$file>);
    my $text = "$ENV{GREETING}\n$rows";
    print $client "HTTP/1.0 200 OK\r\nContent-Length: " . length($text) . "\r\n\r\n$text";
    close($client);
}
"""
ASK = r"""
my ($host, $port) = @ARGV;
socket(my $server, 2, 1, 6) or die "socket: $!";
my $address = gethostbyname($host) or die "no such host";
connect($server, pack("S n a4 x8", 2, $port, $address)) or die "connect: $!";
syswrite($server, "GET / HTTP/1.0\r\n\r\n");
print while <$server>;
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that inspect tells of how a container is to run, but for what the engine chose."""

    config: dict[str, Any]
    host: dict[str, Any]
    networks: dict[str, Any]
    mounts: list[tuple[str, str, bool]]


def web_image(api: docker.APIClient, tag: str = IMAGE) -> str:
    """The reference of an image with the service and a client of it."""
    layer = {
        **program("perl"),
        "srv/serve.pl": file(SERVER.encode()),
        "srv/ask.pl": file(ASK.encode()),
    }
    config = {"Cmd": ["perl", "/srv/serve.pl"], "Labels": {"of": "the image"}}
    build_image(api, tag, layers=[layer], config=config)
    return tag


def joined(api: docker.APIClient, network: str, endpoint: Any) -> Any:
    """The networking config of a new container in one network."""
    made: Any = api.create_networking_config  # its stub takes a mapping for an endpoint
    return made({network: endpoint})


def answer(api: docker.APIClient, container: str, host: str = "127.0.0.1") -> str:
    """What the service at `host` says, asked from inside a container; "" while it does not."""
    said = run_inside(api, container, f"perl /srv/ask.pl {host} {PORT} 2>&1 || true")
    return said.replace("\r\n", "\n").partition("\n\n")[2]


def answer_outside(engine: Engine, port: int = PUBLISHED) -> str:
    """What answers at a published port on the engine's own machine."""
    enter = []
    if engine.is_ours:
        enter = ["nsenter", f"--net={engine.network}"]
        subprocess.run([*enter, "ip", "link", "set", "lo", "up"], check=True)
    done = subprocess.run(
        [*enter, "perl", "-e", ASK, "127.0.0.1", str(port)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.replace("\r\n", "\n").partition("\n\n")[2]


def health(api: docker.APIClient, container: str) -> str:
    """`starting`, `healthy`, `unhealthy`."""
    return str(api.inspect_container(container)["State"]["Health"]["Status"])


def wait_for_answer(api: docker.APIClient, container: str) -> str:
    """What the service says as soon as it does."""
    wait_until(lambda: bool(answer(api, container)))
    return answer(api, container)


def facts_of(api: docker.APIClient, container: str) -> Facts:
    """How the container is to run."""
    found = json.loads(json.dumps(api.inspect_container(container)))
    config = {key: value for key, value in found["Config"].items() if key != "Image"}
    config["Entrypoint"] = config.get("Entrypoint") or None
    short_id = found["Id"][:12]
    own_names = {short_id, config["Hostname"]}
    if config["Hostname"] == short_id:
        del config["Hostname"]
    host = {key: value for key, value in found["HostConfig"].items() if value}
    networks = {
        name: {
            "IPAMConfig": each.get("IPAMConfig") or None,
            "Aliases": sorted(set(each.get("Aliases") or ()) - own_names),
            "Links": each.get("Links") or None,
            "DriverOpts": each.get("DriverOpts") or None,
        }
        for name, each in found["NetworkSettings"]["Networks"].items()
    }
    mounts = sorted(
        (each.get("Name") or each["Source"], each["Destination"], each["RW"])
        for each in found["Mounts"]
    )
    return Facts(config, host, networks, mounts)

"""Two network namespaces as two hosts with a link between them, and nodes of Ray on both.

They need root and `ip`. What is on the disk, both hosts see. The calling thread enters the first host; threads and
processes that it starts are there, too. Threads that are there already stay outside, and a Ray that the process has had
before may have left its mode of authentication, so that a program that uses them is a process of its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clipshelf.scale.ray_runtime import load_ray
from support.processes import processes_below

ADDRESSES = ("10.213.77.1", "10.213.77.2")
_PORT = 6379
_CLONE_NEWNET = 0x40000000
# With its own settings, Ray notices after half a minute that a node is lost.
_HEALTH = {"health_check_period_ms": 1000, "health_check_timeout_ms": 3000, "health_check_failure_threshold": 4}
_OPTIONS = ["--object-store-memory=83886080", "--disable-usage-stats", "--block"]
# Ray would use a token of the user where there is one, for the head alone. These hosts are reached by nobody else.
_AUTH_MODE = {"RAY_AUTH_MODE": "disabled"}


def reason_to_skip() -> str | None:
    """Why there can be no such hosts here, None where there can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "needs Linux and root"
    name = f"clipshelf-{os.getpid()}"
    try:
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"needs network namespaces: {error}"
    return None


class TwoHosts:
    """The hosts 0 and 1. The head of the cluster is on host 0.

    - `folder`: for logs.

    Raises RuntimeError in a process that has imported Ray.
    """

    def __init__(self, folder: Path) -> None:
        if "ray" in sys.modules:
            raise RuntimeError("expected a process that has not imported Ray yet, found one that has")
        os.environ.update(_AUTH_MODE)
        self._folder = folder
        self._names = names_of_hosts(os.getpid())
        self._links = ["link0", "link1"]
        self._nodes: list[subprocess.Popen[bytes]] = []
        # Ray looks there for a cluster at the same address. In a folder of tests, names of its sockets are too long.
        self._ray_folder = tempfile.mkdtemp(prefix="two-hosts-")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The hosts exist, and the calling thread is on host 0, as long as the block lasts."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            for name in self._names:
                _ip("netns", "add", name)
            peer = ("peer", "name", self._links[1], "netns", self._names[1])
            _ip("-n", self._names[0], "link", "add", self._links[0], "type", "veth", *peer)
            for name, link, address in zip(self._names, self._links, ADDRESSES, strict=True):
                _ip("-n", name, "address", "add", f"{address}/30", "dev", link)
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "link", "set", link, "up")
            with Path("/run/netns", self._names[0]).open("rb") as namespace:
                _enter(namespace.fileno())
            yield
        finally:
            _enter(outside)
            os.close(outside)
            self._end()

    def start_node(self, host: int, cpus: int) -> int:
        """Start a node of Ray; returns the process of its raylet."""
        where = [f"--address={ADDRESSES[0]}:{_PORT}"]
        if host == 0:
            where = ["--head", f"--port={_PORT}", f"--system-config={json.dumps(_HEALTH)}", "--include-dashboard=false"]
            where.append(f"--temp-dir={self._ray_folder}")
        command = ["ip", "netns", "exec", self._names[host], sys.executable, "-m", "ray.scripts.scripts", "start"]
        log = self._folder / f"node-{len(self._nodes)}.log"
        with log.open("wb") as output:
            node = subprocess.Popen(
                [*command, *where, f"--node-ip-address={ADDRESSES[host]}", f"--num-cpus={cpus}", *_OPTIONS],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._nodes.append(node)
        return _raylet_of(node, log)

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """Ray, connected to the head."""
        ray = load_ray()
        options = {"log_to_driver": False, "logging_level": "ERROR", "_node_ip_address": ADDRESSES[0]}
        ray.init(f"{ADDRESSES[0]}:{_PORT}", **options)
        try:
            yield ray
        finally:
            ray.shutdown()

    def cut(self) -> None:
        """Cut the link: what host 0 sends is lost, and host 1 has no network."""
        _ip("-n", self._names[1], "link", "set", self._links[1], "down")

    def restore(self) -> None:
        """Let packets through again."""
        _ip("-n", self._names[1], "link", "set", self._links[1], "up")

    def _end(self) -> None:
        """End all that runs on the hosts, and these."""
        end_hosts(self._names)
        for node in self._nodes:
            node.wait()
        shutil.rmtree(self._ray_folder, ignore_errors=True)


def names_of_hosts(pid: int) -> list[str]:
    """The network namespaces of the hosts that a process makes."""
    return [f"clipshelf-{pid}-{host}" for host in range(2)]


def end_hosts(names: Sequence[str]) -> None:
    """End all that runs on hosts, and these, where they are there."""
    for name in names:
        with suppress(subprocess.CalledProcessError):  # one that could not be made
            for pid in map(int, _ip("netns", "pids", name).split()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            _ip("netns", "delete", name)


def _raylet_of(node: subprocess.Popen[bytes], log: Path) -> int:
    """Wait for the raylet of a node that starts; returns its process."""
    deadline = time.monotonic() + 120
    while node.poll() is None and time.monotonic() < deadline:
        for pid in processes_below(node.pid):
            with suppress(OSError):
                program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
                if program.endswith(b"/raylet") and "Ray runtime started" in log.read_text():
                    return pid
        time.sleep(0.05)
    raise TimeoutError(f"expected a node of Ray, found: {log.read_text()}")


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def _enter(namespace: int) -> None:
    """Let the calling thread enter the network namespace of a descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")

"""The clients of a load test, in a process of their own, which imports NumPy and nothing else.

    python -m clipshelf_bench.load.client PLAN.json

The plan is the JSON of a `Plan`; the answer is the JSON of an `Outcome` on standard output.

- A closed loop has n clients, each of which sends its next request when it has its answer: it measures what a service
  can do.
- An open loop sends requests at random times of a given rate, whether or not there are answers, and counts the time of
  a request from the moment at which it was due: it measures what people wait for, and what becomes of overload.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

_SEED = 5


@dataclass(frozen=True)
class Plan:
    """What clients send and how.

    - `port`: of the service, on the loopback.
    - `path`: of the endpoint.
    - `bodies`: a file with a JSON list of bodies, which are sent in turn.
    - `seconds`: how long requests are sent; answers are waited for after that.
    - `clients`: of a closed loop; None for an open one.
    - `pause`: seconds between an answer and the next request of a client.
    - `rate`: requests per second of an open loop.
    - `timeout`: seconds after which a request is given up.
    """

    port: int
    path: str
    bodies: str
    seconds: float
    clients: int | None = None
    pause: float = 0.0
    rate: float = 0.0
    timeout: float = 15.0


@dataclass
class Outcome:
    """What became of the requests.

    - `ms`: milliseconds of each answer with status 200.
    - `refused_ms`: milliseconds of each other answer.
    - `statuses`: requests by status, `timeout` for no answer, `failed` for a connection that broke.
    - `seconds`: from the first request to the last answer.
    """

    ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def requests(self) -> int:
        """Requests that were sent."""
        return sum(self.statuses.values())

    def count(self, status: str) -> None:
        """Count a request."""
        self.statuses[status] = self.statuses.get(status, 0) + 1


class _Connections:
    """Connections to the service that stay open between requests."""

    def __init__(self, plan: Plan, outcome: Outcome) -> None:
        self._plan = plan
        self._outcome = outcome
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, request: bytes, due: float) -> None:
        """Send a request, wait for its answer, and note what became of it."""
        try:
            async with asyncio.timeout(self._plan.timeout):
                status = await self._exchange(request)
        except TimeoutError:
            self._outcome.count("timeout")
            return
        except (OSError, EOFError, ValueError):
            self._outcome.count("failed")
            return
        self._outcome.count(status)
        times = self._outcome.ms if status == "200" else self._outcome.refused_ms
        times.append(1e3 * (time.perf_counter() - due))

    def close(self) -> None:
        """Close all connections."""
        for _, writer in self._idle:
            writer.close()

    async def _exchange(self, request: bytes) -> str:
        """Send a request; the status of its answer, whose body is read."""
        reader, writer = self._idle.pop() if self._idle else await self._open()
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_content_length(head))
        except BaseException:
            writer.close()
            raise
        if b"connection: close" in head.lower():
            writer.close()
        else:
            self._idle.append((reader, writer))
        return head.split(b" ", 2)[1].decode()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._plan.port)


async def run(plan: Plan) -> Outcome:
    """Send the requests of a plan."""
    outcome = Outcome()
    connections = _Connections(plan, outcome)
    requests = _requests(plan)
    start = time.perf_counter()
    try:
        if plan.clients is None:
            await _open_loop(plan, connections, requests, start)
        else:
            await asyncio.gather(*(_client(plan, connections, requests, start) for _ in range(plan.clients)))
    finally:
        connections.close()
    outcome.seconds = time.perf_counter() - start
    return outcome


async def _client(plan: Plan, connections: _Connections, requests: Iterator[bytes], start: float) -> None:
    """One client of a closed loop."""
    while (now := time.perf_counter()) < start + plan.seconds:
        await connections.send(next(requests), now)
        await asyncio.sleep(plan.pause)


async def _open_loop(plan: Plan, connections: _Connections, requests: Iterator[bytes], start: float) -> None:
    """Requests at the times of a Poisson process."""
    gaps = np.random.default_rng(_SEED).exponential(1 / plan.rate, max(1, round(plan.rate * plan.seconds)))
    async with asyncio.TaskGroup() as group:
        for due in start + np.cumsum(gaps):
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(connections.send(next(requests), due))


def _requests(plan: Plan) -> Iterator[bytes]:
    """The requests as they are sent, for ever."""
    bodies = [json.dumps(body).encode() for body in json.loads(Path(plan.bodies).read_text())]
    head = f"POST {plan.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
    for body in itertools.cycle(bodies):
        yield b"%s%d\r\n\r\n%s" % (head.encode(), len(body), body)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    raise ValueError("expected an answer with Content-Length, found one without")


def main() -> None:
    """Run the plan of the command line."""
    plan = Plan(**json.loads(Path(sys.argv[1]).read_text()))
    print(json.dumps(asdict(asyncio.run(run(plan)))))


if __name__ == "__main__":
    main()

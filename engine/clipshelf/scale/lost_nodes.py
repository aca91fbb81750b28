"""Work on Ray that waits for a node that is lost, as it may for long, or for ever, and is begun again.

Where the link to a node is cut, or its machine is gone, Ray notices within half a minute. The tasks that it had sent
there it runs elsewhere only when gRPC gives up the connection, after seven minutes (Ray 2.60). Tasks of a lost actor of
Ray Data wait until the actor has room on another node, which others may have until all else is done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from clipshelf.errors import ClipshelfError
from clipshelf.scale.ray_runtime import cause_of, says_lost

_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)
# Seconds without a result that Ray gets to go on by itself. It starts a lost actor again within about five.
PATIENCE = 15.0
# Of the longest time between two results: slow work is not taken for work that waits.
_GAPS = 3
_TRIES = 5  # jobs in a row without a result


class WorkStopped(Exception):
    """Work waits for a node that is lost."""


class LostNodeWatch:
    """Whether work has stopped since a node was lost.

    - `nodes`: the nodes of the cluster, as `ray.nodes` gives them.
    - `patience`: seconds without a result after which work has stopped, at least.
    - `clock`: seconds that never go back.

    A node counts as lost that was there at any time since the watch was made.
    """

    def __init__(
        self,
        nodes: Callable[[], Iterable[Mapping[str, Any]]],
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes = nodes
        self._patience = patience
        self._clock = clock
        self._seen: set[str] = set()
        self._last: float | None = None  # time of the last result
        self._began = clock()
        self._look()

    def note_result(self) -> None:
        """Tell the watch that a result came."""
        now = self._clock()
        if self._last is not None:  # the first result comes late, since workers start
            self._patience = max(self._patience, _GAPS * (now - self._last))
        self._last = now

    def has_stopped(self) -> bool:
        """Whether a node is lost, and no result has come for as long as the patience lasts."""
        is_lost = self._look()
        return is_lost and self._clock() - (self._last or self._began) > self._patience

    def _look(self) -> bool:
        """Whether a node is lost that was seen before."""
        alive = {node["NodeID"] for node in self._nodes() if node["Alive"]}
        self._seen |= alive
        return self._seen != alive


def begin_again(name: str, job: Callable[[float], Iterator[_Result]]) -> Iterator[_Result]:
    """The results of a job, and where it loses what it needs, those of the next one.

    - `name`: of the work, for messages.
    - `job`: begins with what is not done yet; gets its patience in seconds, and raises WorkStopped, or an error of Ray
      that says what was lost.

    A job that gave no result is followed by one with twice the patience. Raises ClipshelfError after several of them,
    and other errors of a job as they are.
    """
    tries = 0
    while True:
        has_results = False
        try:
            for result in job(PATIENCE * 2**tries):
                yield result
                has_results = True
            return
        except Exception as error:
            if not (isinstance(error, WorkStopped) or says_lost(error)):
                raise
            tries = 0 if has_results else tries + 1
            if tries == _TRIES:
                raise ClipshelfError(
                    f"{name}: expected nodes and workers that stay, found {tries} times in a row that some were lost "
                    f"before anything was done; run it again, and it goes on. {cause_of(error)}"
                ) from error
            _log.warning("%s: begins again with what is missing: %s", name, cause_of(error))

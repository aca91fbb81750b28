"""The only way to Ray: it is imported on first use, without its usage statistics and dashboard."""

from __future__ import annotations

import importlib
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clipshelf.errors import ClipshelfError, MissingExtra

_REACHABLE_WITHIN = 5.0  # seconds


def load_ray() -> Any:
    """Import Ray; raises MissingExtra where it is not installed."""
    # Read when Ray starts. A value that the user set is kept.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtra(
            f"expected the packages of the extra scale, found no {error.name}: pip install 'clipshelf[scale]'"
        ) from error


def load_ray_data() -> Any:
    """Import Ray Data, without its progress bars and its log on standard error; raises MissingExtra."""
    load_ray()
    try:
        data = importlib.import_module("ray.data")
    except ImportError as error:
        raise MissingExtra(
            f"expected the packages of the extra scale, found no {error.name}: pip install 'clipshelf[scale]'"
        ) from error
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return data


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Ray, connected to a cluster while the block runs; one that runs already is left as it is.

    - `address`: of a cluster, such as "auto"; None starts one in this process and ends it with the block.

    Raises ClipshelfError for a cluster that cannot be reached.
    """
    ray = load_ray()
    if ray.is_initialized():
        yield ray
        return
    if address is not None:
        _check_reachable(address)
    # Without an address, Ray would connect to any cluster that was started on this machine, also one that has ended.
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ClipshelfError(f"expected a cluster of Ray at {address or 'this machine'}, found: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def raised_by_task(error: BaseException) -> BaseException:
    """The error that a task raised, without the text that Ray puts before it; another error of Ray as it is."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error


def cause_of(error: BaseException) -> str:
    """What an error of Ray says, without the text that Ray puts before the error of a task."""
    text = str(raised_by_task(error))
    # A head whose calls this process refuses, since they have no token, ends its actors as if nobody needed them.
    if "all references to the actor were removed" in text:
        text += (
            "\nRay says so too where this process uses a token and the cluster does not: RAY_AUTH_MODE must be the "
            "same for both, and a process that has had a Ray of its own uses a token from then on"
        )
    return text


def says_lost(error: BaseException) -> bool:
    """Whether an error of Ray says that a process or a node was lost, and with it what it was at or had made."""
    errors, cause = load_ray().exceptions, raised_by_task(error)
    if isinstance(cause, errors.RayActorError):
        return not cause.actor_init_failed
    return isinstance(cause, (errors.NodeDiedError, errors.WorkerCrashedError, errors.ObjectLostError))


def _check_reachable(address: str) -> None:
    """Raise ClipshelfError unless something listens at HOST:PORT: Ray would try it for minutes."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdecimal() and int(port) < 1 << 16:
        try:
            socket.create_connection((host.strip("[]"), int(port)), _REACHABLE_WITHIN).close()
        except OSError as error:
            raise ClipshelfError(f"expected a cluster of Ray at {address}, found: {error}") from error

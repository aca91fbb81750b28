"""The one error policy of everything that takes many items.

`on_error` says what becomes of an item that cannot be used. "raise", the default, raises its error. A callable is given
a `Failure` instead, the item is left out, and the others go on; the `append` of a list is the usual one:

    failures: list[Failure] = []
    engine.embed_images(paths, on_error=failures.append)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from clipshelf.errors import InputError

Result = TypeVar("Result")

_HINT = "on_error, on the command line --on-error skip, leaves such an item out"


@dataclass(frozen=True)
class Failure:
    """An item that was left out.

    - `index`: its position among the items that were given, from 0.
    - `source`: a short name of it, such as a path or the id of a product.
    - `reason`: the message of its error.
    - `part`: the part of the item that alone was left out, such as "image", None for the whole item.
    """

    index: int
    source: str
    reason: str
    part: str | None = None


OnError: TypeAlias = Literal["raise"] | Callable[[Failure], object]


def check_on_error(on_error: OnError) -> None:
    """Raise InputError unless `on_error` is "raise" or a callable."""
    if on_error != "raise" and not callable(on_error):
        raise InputError(f"on_error: expected 'raise' or a callable that takes a Failure, found {on_error!r}")


def handle(on_error: OnError, index: int, source: str, error: InputError) -> None:
    """Do with an item that cannot be used what `on_error` says: raise `error`, or report it as a `Failure`."""
    if on_error == "raise":
        error.add_note(_HINT)
        raise error
    on_error(Failure(index, source, str(error)))


@contextmanager
def one_item() -> Iterator[None]:
    """For a call that has one item and no `on_error`: its errors do not speak of leaving items out."""
    try:
        yield
    except InputError as error:
        notes = getattr(error, "__notes__", [])
        if _HINT in notes:
            notes.remove(_HINT)
        raise


def attempt(call: Callable[[], Result]) -> Result | InputError:
    """The result of `call`, or the InputError that it raises."""
    try:
        return call()
    except InputError as error:
        return error

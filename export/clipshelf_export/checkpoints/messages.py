"""Short messages out of the errors of other libraries."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class where the message is empty."""
    return next(iter(str(error).splitlines()), type(error).__name__)

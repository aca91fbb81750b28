"""What the command line prints: results to standard output, errors and notes to standard error.

Texts of strangers lose their control characters, and what the encoding of the terminal lacks is shown as an escape.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from clipshelf.display import json_text, one_line


def open_streams() -> bool:
    """Prepare standard output and standard error.

    A character that the encoding lacks is then written as an escape, and what is written to a closed stream is lost.
    Returns whether standard output is open.
    """
    is_open = sys.stdout is not None
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # The file takes the descriptor of the closed stream, so that no other file can.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return is_open


def close_output() -> None:
    """Flush standard output.

    Raises OSError where that fails; what could not be written is then dropped, since Python would fail once more on it
    at exit.
    """
    try:
        sys.stdout.flush()
    except OSError:
        drop_output()
        raise


def drop_output() -> None:
    """Drop what was printed and not yet written, and all that follows."""
    with suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)


def print_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as JSON that the encoding of standard output can hold."""
    print(json_text(value, encoding=sys.stdout.encoding or "utf-8", indent=indent))


def print_error(message: str) -> None:
    """Print the message of an error, or of an item that was left out, as one line."""
    print(f"clipshelf: {one_line(message)}", file=sys.stderr)


def print_note(message: str) -> None:
    """Print a message about something that fails nothing, as one line."""
    print_error(f"note: {message}")

"""Checkpoints to artifacts: `export(source, out)`, as `clipshelf export` on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clipshelf.errors import MissingExtra

if TYPE_CHECKING:
    from clipshelf_export.pipeline import export

__all__ = ["export"]


def __getattr__(name: str) -> Any:
    """Import `export` when it is first asked for, so that arguments are read without torch. Raises MissingExtra."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from clipshelf_export import pipeline
    except ImportError as error:
        raise MissingExtra(f"export needs {error.name}: pip install 'clipshelf[export]'") from error
    return getattr(pipeline, name)

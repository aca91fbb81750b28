"""Turn checkpoints into artifacts: `export(source, out)`, or `clipshelf export` on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clipshelf.errors import MissingExtra

if TYPE_CHECKING:
    from clipshelf_export.pipeline import export

__all__ = ["export"]


def __getattr__(name: str) -> Any:
    """Import `export` on first use, so that the command line parses its arguments without torch.

    Raises MissingExtra where a package of `clipshelf[export]` is missing.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from clipshelf_export import pipeline
    except ImportError as error:
        raise MissingExtra(f"export needs {error.name}: pip install 'clipshelf[export]'") from error
    return getattr(pipeline, name)

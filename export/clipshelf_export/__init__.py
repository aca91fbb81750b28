"""Turn models into artifacts: `export(source, out)` for checkpoints, `import_onnx(source, out)` for ready ONNX towers.

On the command line they are `clipshelf export` and `clipshelf import`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clipshelf.errors import MissingExtra

if TYPE_CHECKING:
    from clipshelf_export.pipeline import export, import_onnx

__all__ = ["export", "import_onnx"]
# The extra of each name.
_EXTRAS = {"export": "export", "import_onnx": "import"}


def __getattr__(name: str) -> Any:
    """Import a name on first use, so that the command line parses its arguments without torch and onnx.

    Raises MissingExtra where a package of the extra is missing.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from clipshelf_export import pipeline
    except ImportError as error:
        extra = _EXTRAS[name]
        raise MissingExtra(f"{extra} needs {error.name}: pip install 'clipshelf[{extra}]'") from error
    return getattr(pipeline, name)

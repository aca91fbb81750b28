"""Checkpoints to artifacts: `export(source, out)`, as `clipshelf export` on the command line."""

from clipshelf_export.pipeline import export

__all__ = ["export"]

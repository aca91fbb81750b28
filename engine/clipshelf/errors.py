"""Every error that clipshelf raises on purpose.

    ClipshelfError
    ├── InputError (ValueError)             a text, picture, product or option that cannot be used
    │   ├── ImageError                      a picture that cannot be read
    │   └── UnknownIdError (KeyError)       a product id that the catalogue does not have
    ├── ArtifactError (ValueError)          a model folder that does not hold what its manifest says
    ├── CatalogueError (ValueError)         a catalogue folder that does not hold what its manifest says
    │   └── FingerprintMismatch             a catalogue and an engine of two different models
    ├── ShardLost (ConnectionError)         a shard of a catalogue that did not answer
    ├── BundleError (ValueError)            a bundle that does not hold what its manifest says
    ├── ProviderUnavailable (RuntimeError)  an execution provider that this machine cannot run
    ├── MissingExtra (ImportError)          an optional part of clipshelf that is not installed
    ├── Interrupted (RuntimeError)          a call that its caller cancelled
    │   └── TimedOut (TimeoutError)         a call that took longer than its caller allows
    └── ExportError (RuntimeError)          a checkpoint that cannot be turned into an artifact

Each also derives from the builtin that a caller would expect. Messages say what was expected and what came.
"""

from __future__ import annotations


class ClipshelfError(Exception):
    """Base of all errors raised on purpose; to catch it is to catch them all."""


class InputError(ClipshelfError, ValueError):
    """A text, picture, product or option that cannot be used: its type, its shape or its value."""


class ImageError(InputError):
    """A picture that cannot be read: no such file, no known format, broken, or too large."""


class UnknownIdError(InputError, KeyError):
    """A product id that the catalogue does not have."""

    # KeyError would print the repr of its message
    __str__ = Exception.__str__


class ArtifactError(ClipshelfError, ValueError):
    """A model folder that does not hold what its manifest says, or whose graphs have other inputs or outputs."""


class CatalogueError(ClipshelfError, ValueError):
    """A catalogue folder that does not hold what its manifest says, or that cannot be written."""


class FingerprintMismatch(CatalogueError):
    """A catalogue and an engine of two different models: their embeddings do not compare."""


class ShardLost(ClipshelfError, ConnectionError):
    """A shard of a catalogue that did not answer in time, while a query needs its products."""


class BundleError(ClipshelfError, ValueError):
    """A bundle for a device that does not hold what its manifest says, or a file that is none."""


class ProviderUnavailable(ClipshelfError, RuntimeError):
    """An execution provider that this machine cannot run: not in the build of onnxruntime, or it does not start."""


class MissingExtra(ClipshelfError, ImportError):
    """An optional part of clipshelf that is not installed; the message names what to install."""


class Interrupted(ClipshelfError, RuntimeError):
    """A call that its caller cancelled before it was done."""


class TimedOut(Interrupted, TimeoutError):
    """A call that took longer than its caller allows."""


class ExportError(ClipshelfError, RuntimeError):
    """A checkpoint that cannot be turned into an artifact."""

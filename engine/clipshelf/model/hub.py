"""Artifacts on the Hugging Face hub: fetched by a pinned revision and checked, and pushed.

A model is named `org/name@revision`. The revision is a commit, a tag or a branch. Files come into the cache of
huggingface_hub once. A commit that is in the cache is opened without a network call, and so is everything with
HF_HUB_OFFLINE=1. The package is needed for such names alone: the extra `hub`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clipshelf.errors import ArtifactError, MissingExtra
from clipshelf.files import MANIFEST_BYTES, FileRecord, read_regular
from clipshelf.model.artifact import MANIFEST, Artifact, Manifest
from clipshelf.model.model_card import CARD, model_card
from clipshelf.types import PathLike

_REFERENCE = re.compile(r"([\w.-]+/[\w.-]+)@([^\s@]+)")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class HubReference:
    """A model on the hub.

    - `repository`: its organisation and name.
    - `revision`: a commit, a tag or a branch.
    """

    repository: str
    revision: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}"

    @classmethod
    def parse(cls, source: PathLike) -> HubReference | None:
        """The reference that `source` is; None for a path, and for the name of something that exists."""
        match = _REFERENCE.fullmatch(source) if isinstance(source, str) else None
        return None if match is None or Path(match[0]).exists() else cls(match[1], match[2])


def open_artifact(source: PathLike) -> Artifact:
    """Open an artifact.

    - `source`: its folder, or `org/name@revision` on the hub.

    Raises ArtifactError where it is in neither or does not hold what its manifest says, and MissingExtra for a name of
    the hub without the package huggingface_hub.
    """
    reference = HubReference.parse(source)
    if reference is not None:
        return fetch(reference)
    try:
        return Artifact.open(source)
    except ArtifactError as error:
        if isinstance(source, str) and _REPOSITORY.fullmatch(source) and not Path(source).exists():
            error.add_note("a model on the hub is named with its revision: org/name@revision")
        raise


def fetch(reference: HubReference) -> Artifact:
    """Open an artifact of the hub; what is not in the cache is downloaded, and compared with the manifest.

    Raises ArtifactError where it cannot be fetched or a file differs from the manifest.
    """
    path = _download(reference, MANIFEST)
    try:
        manifest = Manifest.from_json(read_regular(path, MANIFEST_BYTES).decode())
    except (ArtifactError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{reference}: {error}") from error
    pinned = HubReference(reference.repository, path.parent.name)  # the cache has a folder for each commit
    for name, record in manifest.files.items():
        if not isinstance(_hub().try_to_load_from_cache(pinned.repository, name, revision=pinned.revision), str):
            _check(reference, name, record, FileRecord.of(_download(pinned, name)))
    return replace(Artifact.open(path.parent), reference=str(pinned))


def push(artifact: Artifact, repository: str, *, branch: str = "main", private: bool = False) -> HubReference:
    """Upload an artifact as one commit, after a check of its files.

    - `repository`: `org/name`; made where it does not exist.
    - `branch`: to commit to, which must exist.
    - `private`: whether a repository that is made is private.

    A model card is added where the repository has none. Returns the reference of the commit. Raises ArtifactError where
    a file differs from the manifest or the hub refuses, MissingExtra without the package huggingface_hub.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise ArtifactError(f"{repository}: expected org/name, found otherwise")
    artifact.verify()
    hub = _hub()
    paths = {name: artifact.path / name for name in (*artifact.manifest.files, MANIFEST)}
    operations = [hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in paths.items()]
    fingerprint = artifact.manifest.fingerprint
    try:
        api = hub.HfApi()
        api.create_repo(repository, exist_ok=True, private=private)
        if not api.file_exists(repository, CARD, revision=branch):
            card = model_card(artifact.manifest, repository).encode()
            operations.append(hub.CommitOperationAdd(path_in_repo=CARD, path_or_fileobj=card))
        message = f"Add the artifact {fingerprint}"
        commit = api.create_commit(repository, operations, commit_message=message, revision=branch)
    except _errors() as error:
        raise ArtifactError(f"{repository}: expected a hub that takes the artifact, found: {_reason(error)}") from error
    return HubReference(repository, commit.oid)


def _download(reference: HubReference, name: str) -> Path:
    """The path of one file in the cache, after its download where it is not there yet."""
    try:
        return Path(_hub().hf_hub_download(reference.repository, name, revision=reference.revision))
    except _errors() as error:
        raise ArtifactError(f"{reference}: expected a model of the hub with {name}, found: {_reason(error)}") from error


def _check(reference: HubReference, name: str, expected: FileRecord, actual: FileRecord) -> None:
    if actual != expected:
        raise ArtifactError(f"{reference}: {name}: expected sha256 {expected.sha256}, found {actual.sha256}")


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtra(f"models of the hub need {error.name}: pip install 'clipshelf[hub]'") from error
    return huggingface_hub


def _errors() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises: answers of the hub, missing files, malformed names, and errors of the network."""
    from huggingface_hub import errors

    return errors.HfHubHTTPError, errors.EntryNotFoundError, errors.HFValidationError, OSError


def _reason(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)

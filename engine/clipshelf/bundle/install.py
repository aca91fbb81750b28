"""Installs a bundle of clipshelf on a device, without a network. It needs Python's standard library alone.

    tar -xOf kiosk.tar clipshelf-bundle/install.py | python3 - kiosk.tar /opt/kiosk     install, or update
    python3 /opt/kiosk/current/install.py --back /opt/kiosk                             go back to the release before

Releases stand beside each other in FOLDER/releases, and FOLDER/current is a link to one of them. A release becomes the
current one in one step, after every file has the hash that the manifest names and the catalogue has been checked. A
device that loses its power before that keeps the old one. The release before stays, as FOLDER/previous.

With --public-key KEY.pem the bundle must be signed by the owner of the key; the program openssl checks that.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

TOP = "clipshelf-bundle/"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
FORMAT = 1
MANIFEST_BYTES = 1 << 26  # the most that is read
CHUNK_BYTES = 1 << 20
# Without the packages of the device's user and of its Python: only those of the release count.
ISOLATED = ("-s", "-S")
# Set where Python runs under emulation: the command that starts it.
PYTHON_VARIABLE = "CLIPSHELF_PYTHON"


class InstallError(Exception):
    """What was expected, and what came."""


def main(argv: Sequence[str]) -> int:
    """Run the command line that the module's head shows; return the exit status."""
    parser = argparse.ArgumentParser(prog="install.py", description="Install a bundle of clipshelf, without a network.")
    parser.add_argument("bundle", nargs="?", metavar="BUNDLE", help="the file that `clipshelf bundle` wrote")
    parser.add_argument("folder", metavar="FOLDER", help="where releases are kept; made where it does not exist")
    parser.add_argument("--back", action="store_true", help="make the release before the current one again")
    parser.add_argument("--public-key", metavar="KEY.pem", help="require a signature by the owner of this Ed25519 key")
    args = parser.parse_args(argv)
    if args.back == (args.bundle is not None):
        parser.error("expected BUNDLE and FOLDER, or --back and FOLDER")
    folder = Path(args.folder)
    try:
        with locked(folder):
            if args.back:
                go_back(folder)
            else:
                install(Path(args.bundle), folder, args.public_key)
    except (InstallError, OSError, tarfile.TarError, ValueError, KeyError) as error:
        print(f"install.py: error: {error}", file=sys.stderr)
        return 1
    return 0


def install(bundle: Path, folder: Path, public_key: str | None) -> None:
    """Install a bundle as a release, and make it the current one."""
    if not bundle.is_file():
        raise InstallError(f"{bundle}: expected a bundle, found {'no regular file' if bundle.exists() else 'none'}")
    with bundle.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
        content, signature = read_head(archive)
        if public_key is not None:
            check_signature(content, signature, public_key)
        manifest = parse_manifest(content)
        check_device(manifest)
        name = hashlib.sha256(content).hexdigest()[:12]
        release = folder / "releases" / name
        if not release.is_dir():
            draft = release.with_name(f".{name}.draft")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            try:
                (draft / MANIFEST).write_bytes(content)
                extract(archive, manifest["files"], draft)
                install_wheels(draft)
                check_release(draft)
                flush(draft)
                draft.rename(release)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
    switch(folder, name)
    remove_older(folder)
    print(f"{folder}: release {name} of {manifest['products']} products")
    print(f"try: {folder}/current/recommend --text 'a warm jacket'")


def read_head(archive: tarfile.TarFile) -> tuple[bytes, bytes | None]:
    """The manifest, which is the first file of a bundle, and its signature, which is the second if there is one."""
    head: dict[str, bytes] = {}
    for _ in range(2):
        info = archive.next()
        file = None if info is None else archive.extractfile(info)
        if info is None or file is None or info.size > MANIFEST_BYTES:
            break
        head[info.name] = file.read()
    content = head.get(TOP + MANIFEST)
    if content is None:
        raise InstallError(f"expected a bundle that begins with {TOP}{MANIFEST}, found none")
    return content, head.get(TOP + SIGNATURE)


def parse_manifest(content: bytes) -> dict[str, Any]:
    """The fields of a manifest, with what is used here of the right types; raise InstallError where they are not."""
    try:
        manifest: dict[str, Any] = json.loads(content)
        found = manifest.get("format")
        if found == FORMAT:
            records = [(record["bytes"], record["sha256"]) for record in manifest["files"].values()]
            texts = [manifest["target"], manifest["python"], *(digest for _, digest in records), *manifest["files"]]
            numbers = [manifest["products"], *(size for size, _ in records)]
            if all(type(text) is str for text in texts) and all(type(number) is int for number in numbers):
                return manifest
            found = "values of other types"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        found = f"{type(error).__name__}: {error}"
    raise InstallError(f"expected a bundle of format {FORMAT}, found {found!r}")


def check_signature(content: bytes, signature: bytes | None, public_key: str) -> None:
    """Raise InstallError unless the manifest is signed by the owner of the key."""
    if signature is None:
        raise InstallError("expected a signed bundle, found one without a signature")
    with tempfile.TemporaryDirectory() as name:
        signed, proof = Path(name, MANIFEST), Path(name, SIGNATURE)
        signed.write_bytes(content)
        proof.write_bytes(signature)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public_key, "-rawin", "-in", str(signed)]
        try:
            done = subprocess.run([*command, "-sigfile", str(proof)], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise InstallError("--public-key: expected the program openssl, found none") from None
    if done.returncode:
        found = " ".join((done.stdout + done.stderr).split())
        raise InstallError(f"expected a signature by the owner of {public_key}, found: {found}")


def check_device(manifest: Mapping[str, Any]) -> None:
    """Raise InstallError unless the bundle was made for this machine and this Python."""
    machine = platform.machine().lower()
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(machine, machine)
    found = f"{sys.platform}-{machine}, Python {sys.version_info[0]}.{sys.version_info[1]}"
    expected = f"{manifest['target']}, Python {manifest['python']}"
    if found != expected:
        raise InstallError(f"expected a device as the bundle was made for, {expected}, found {found}")
    if "musl" in platform.libc_ver()[0]:
        raise InstallError("expected a system with glibc, found musl, for which onnxruntime has no wheels")


def extract(archive: tarfile.TarFile, records: Mapping[str, Mapping[str, Any]], draft: Path) -> None:
    """Write the files that the manifest records below `draft`; raise InstallError where one differs or is missing."""
    missing = dict(records)
    for info in archive:
        name = info.name.removeprefix(TOP)
        if name in (MANIFEST, SIGNATURE):
            continue
        plain = info.isreg() and not info.issparse()  # a few bytes of a sparse file may say that it fills the disk
        record, file = missing.pop(name, None), archive.extractfile(info) if plain else None
        if record is None or file is None or set(name.split("/")) & {"", ".", ".."}:
            raise InstallError(f"expected the files of the manifest alone, found {info.name!r}")
        path = draft / name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as target:
            for chunk in iter(partial(file.read, CHUNK_BYTES), b""):
                digest.update(chunk)
                size += len(chunk)
                target.write(chunk)
        path.chmod(0o755 if info.mode & 0o100 else 0o644)
        if (size, digest.hexdigest()) != (record["bytes"], record["sha256"]):
            raise InstallError(f"{name}: expected {record}, found {size} bytes, sha256 {digest.hexdigest()}")
    if missing:
        raise InstallError(f"expected {len(missing)} more files, the first {min(missing)}, found none")


def install_wheels(draft: Path) -> None:
    """Install the wheels into site/ by the pip among them, and delete them."""
    wheels = draft / "wheels"
    pip = sorted(wheels.glob("pip-*.whl"))
    if not pip:
        raise InstallError("wheels: expected pip among them, found none")
    run_python(
        draft,
        pip[0],
        *("-m", "pip", "--isolated", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "install"),
        *("--no-index", f"--find-links={wheels.resolve()}", "--require-hashes", "--requirement=requirements.txt"),
        "--target=site",
    )
    shutil.rmtree(wheels)
    (draft / "python").symlink_to(sys.executable)


def check_release(draft: Path) -> None:
    """Let the installed clipshelf check every byte of the catalogue."""
    run_python(draft, draft / "site", "-m", "clipshelf", "verify", "catalogue")


def run_python(draft: Path, packages: Path, *arguments: str) -> None:
    """Run Python in `draft` with a folder or zip file of packages; raise InstallError with its last lines."""
    python = os.environ.get(PYTHON_VARIABLE) or sys.executable
    environment = {**os.environ, "PYTHONPATH": str(packages.resolve())}
    done = subprocess.run(
        [python, *ISOLATED, *arguments], cwd=draft, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()[-5:]
        raise InstallError(f"{' '.join(arguments[1:3])}: expected success, found: {' '.join(lines)}")


def switch(folder: Path, name: str) -> None:
    """Make a release the current one in one step; the one before becomes the previous one."""
    current = release_name(folder, "current")
    if current == name:
        return
    if current is not None:
        set_link(folder, "previous", current)
    set_link(folder, "current", name)


def go_back(folder: Path) -> None:
    """Make the previous release the current one, and the other way round."""
    current, previous = release_name(folder, "current"), release_name(folder, "previous")
    if previous is None or not (folder / "releases" / previous).is_dir():
        raise InstallError(f"{folder}: expected a release before the current one, found none")
    set_link(folder, "current", previous)
    if current is not None:
        set_link(folder, "previous", current)
    print(f"{folder}: back to release {previous}")


def remove_older(folder: Path) -> None:
    """Remove all releases but the current and the previous one, and what interrupted installations left."""
    kept = {release_name(folder, "current"), release_name(folder, "previous")}
    for release in (folder / "releases").iterdir():
        if release.name not in kept:
            shutil.rmtree(release, ignore_errors=True)


def release_name(folder: Path, link: str) -> str | None:
    """The name of the release that a link leads to, None without the link."""
    path = folder / link
    return path.readlink().name if path.is_symlink() else None


def set_link(folder: Path, link: str, name: str) -> None:
    """Let a link lead to a release, in one step."""
    draft = folder / f".{link}.draft"
    draft.unlink(missing_ok=True)
    draft.symlink_to(Path("releases", name))
    draft.replace(folder / link)
    flush_one(folder)


def flush(folder: Path) -> None:
    """Flush every file below a folder, and the folders, to the disk."""
    for path in [*folder.rglob("*"), folder]:
        if not path.is_symlink():
            flush_one(path)


def flush_one(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only installer of a folder."""
    (folder / "releases").mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InstallError(f"{folder}: expected no other installation, found one at work") from None
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

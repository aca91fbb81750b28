"""Bundles: what goes in comes out on the device, and what was changed on the way is refused."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from clipshelf import Catalogue, Engine
from clipshelf.bundle import archive, install
from clipshelf.bundle.archive import TOP, BundleManifest, find_problems, read_manifest
from clipshelf.bundle.bundle import write_bundle
from clipshelf.bundle.signing import sign
from clipshelf.bundle.target import ARCHITECTURES, Target, this_python
from clipshelf.errors import BundleError, FingerprintMismatch, InputError
from PIL import Image
from support import tiny
from support.stub_wheels import write_stub_wheels

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ARCHITECTURES, reason="bundles are for Linux on two CPUs"
)
HERE = Target(f"linux-{platform.machine()}", this_python())
Files = dict[str, bytes]


@pytest.fixture
def shelf(engine: Engine, tmp_path: Path) -> Path:
    """A saved catalogue of three products, of which two have pictures below its root and one has one elsewhere."""
    root = tmp_path / "shop"
    (root / "photos").mkdir(parents=True)
    Image.fromarray(tiny.picture("red", 900, 600)).save(root / "photos/red.png")
    Image.fromarray(tiny.picture("blue")).save(root / "blue.png")
    Image.fromarray(tiny.picture("green")).save(tmp_path / "green.png")
    pictures = {"a": "photos/red.png", "b": "blue.png", "c": str(tmp_path / "green.png")}
    products = [{"id": id_, "text": f"{id_} shoe", "image": image} for id_, image in pictures.items()]
    source = root / "products.jsonl"
    source.write_text("".join(json.dumps(product) + "\n" for product in products))
    Catalogue.build(engine, source).save(tmp_path / "shelf")
    return tmp_path / "shelf"


@pytest.fixture
def bundle(shelf: Path, tmp_path: Path) -> Path:
    path = tmp_path / "kiosk.tar"
    write_bundle(shelf, path, HERE, wheels=write_stub_wheels(tmp_path / "wheels"))
    return path


def changed(bundle: Path, change: Callable[[Files], object]) -> Path:
    """A copy of a bundle with other files, by their names in the archive."""
    with tarfile.open(bundle) as source:
        files = {info.name: source.extractfile(info).read() for info in source}  # type: ignore[union-attr]
    change(files)
    path = bundle.with_name("changed.tar")
    with tarfile.open(path, "w") as target:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))
    return path


def run_installer(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the installer's module; the tests below that take it out of a bundle run it as a device does."""
    command = [sys.executable, "-m", install.__name__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def start(folder: Path, script: str, *arguments: str) -> str:
    command = [str(folder / "current" / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout.strip()


def test_a_device_installs_and_answers_from_what_was_packed(bundle: Path, shelf: Path, tmp_path: Path) -> None:
    assert find_problems(bundle) == []
    assert read_manifest(bundle).products == 3
    folder = tmp_path / "device"
    done = run_installer(bundle, folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "current/clipshelf").is_file() and not (folder / "current/wheels").exists()
    catalogue = f"{(folder / 'current').resolve()}/catalogue"
    assert start(folder, "recommend", "--text", "x").startswith(f"['recommend', '--catalogue', '{catalogue}'")
    packed = Catalogue.load(folder / "current/catalogue")
    assert packed.ids == Catalogue.load(shelf).ids
    assert packed.model_path() == str((folder / "current/model").resolve())
    Engine.load(packed.model_path(), threads=1)


def test_the_installer_comes_out_of_the_bundle_and_reads_the_script_from_standard_input(
    bundle: Path, tmp_path: Path
) -> None:
    script = subprocess.run(["tar", "-xOf", bundle, f"{TOP}/install.py"], capture_output=True, check=True).stdout
    command = [sys.executable, "-", str(bundle), str(tmp_path / "device")]
    done = subprocess.run(command, input=script, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_same_parts_give_the_same_bytes(bundle: Path, shelf: Path, tmp_path: Path) -> None:
    write_bundle(shelf, tmp_path / "again.tar", HERE, wheels=tmp_path / "wheels")
    first, second = read_manifest(bundle), read_manifest(tmp_path / "again.tar")
    differing = {name for name in first.files if first.files[name] != second.files[name]}
    assert differing <= {"catalogue/manifest.json"}  # it names the folder that it was written in


def test_an_update_keeps_the_release_before_and_goes_back_to_it(bundle: Path, shelf: Path, tmp_path: Path) -> None:
    folder = tmp_path / "device"
    for number in (1, 2, 3):
        path = tmp_path / f"{number}.tar"
        wheels = write_stub_wheels(tmp_path / f"wheels {number}", version=f"{number}.0")
        write_bundle(shelf, path, HERE, wheels=wheels)
        assert run_installer(path, folder).returncode == 0
        assert start(folder, "clipshelf").endswith(f"{number}.0")
    assert len(list((folder / "releases").iterdir())) == 2
    installed = folder / "current/install.py"
    for expected in ("2.0", "3.0"):
        done = subprocess.run([sys.executable, installed, "--back", folder], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert start(folder, "clipshelf").endswith(expected)


def test_the_same_bundle_again_changes_nothing(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "device"
    assert run_installer(bundle, folder).returncode == run_installer(bundle, folder).returncode == 0
    assert len(list((folder / "releases").iterdir())) == 1
    done = run_installer("--back", folder)
    assert done.returncode == 1 and "expected a release before the current one, found none" in done.stderr


def test_what_an_interrupted_installation_left_is_removed(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "device"
    (folder / "releases/.0123456789ab.draft").mkdir(parents=True)
    assert run_installer(bundle, folder).returncode == 0
    assert [release.name.startswith(".") for release in (folder / "releases").iterdir()] == [False]


def test_a_release_that_fails_its_check_leaves_the_old_one(bundle: Path, shelf: Path, tmp_path: Path) -> None:
    folder = tmp_path / "device"
    assert run_installer(bundle, folder).returncode == 0
    wheels = write_stub_wheels(tmp_path / "bad wheels", version="2.0", fails=True)
    write_bundle(shelf, tmp_path / "bad.tar", HERE, wheels=wheels)
    done = run_installer(tmp_path / "bad.tar", folder)
    assert done.returncode == 1 and "the catalogue is not well" in done.stderr
    assert start(folder, "clipshelf").endswith("1.0")
    assert len(list((folder / "releases").iterdir())) == 1


CHANGES: dict[str, Callable[[Files], object]] = {
    "a changed byte": lambda files: files.update({f"{TOP}/catalogue/ids.1.json": b'["x"]'}),
    "a missing file": lambda files: files.pop(f"{TOP}/catalogue/ids.1.json"),
    "one file more": lambda files: files.update({f"{TOP}/site/sitecustomize.py": b"raise SystemExit"}),
    "a path that leads out": lambda files: files.update({f"{TOP}/../../evil": b"x"}),
    "an absolute path": lambda files: files.update({"/tmp/evil": b"x"}),
    "another top folder": lambda files: files.update({"evil/x": b"x"}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_bundle_that_was_changed_is_refused(bundle: Path, tmp_path: Path, change: Callable[[Files], object]) -> None:
    bad = changed(bundle, change)
    with suppress(BundleError):
        assert find_problems(bad)
    folder = tmp_path / "a/b/device"
    done = run_installer(bad, folder)
    assert done.returncode == 1 and "expected" in done.stderr and "Traceback" not in done.stderr
    assert not (folder / "current").exists() and not list((folder / "releases").iterdir())
    assert not list(tmp_path.rglob("evil"))


def test_links_and_devices_in_a_bundle_are_refused(bundle: Path, tmp_path: Path) -> None:
    with tarfile.open(bundle, "a") as archive_:
        link = tarfile.TarInfo(f"{TOP}/catalogue/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive_.addfile(link)
    with pytest.raises(BundleError, match="expected files"):
        find_problems(bundle)
    assert run_installer(bundle, tmp_path / "device").returncode == 1


@pytest.mark.parametrize("content", [b"", b"no tar at all", b"\0" * 4096], ids=["empty", "text", "zeros"])
def test_what_is_no_bundle_is_named_as_such(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(content)
    with pytest.raises(BundleError, match="expected a bundle"):
        find_problems(path)
    done = run_installer(path, tmp_path / "device")
    assert done.returncode == 1 and "Traceback" not in done.stderr


def test_a_pipe_is_no_bundle(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.tar")
    done = run_installer(tmp_path / "x.tar", tmp_path / "device")
    assert done.returncode == 1 and "expected a bundle, found no regular file" in done.stderr


def test_a_bundle_that_was_cut_off_is_refused(bundle: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.tar"
    cut.write_bytes(bundle.read_bytes()[: bundle.stat().st_size // 2])
    with pytest.raises(BundleError, match="expected a bundle, found"):
        find_problems(cut)
    done = run_installer(cut, tmp_path / "device")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert not (tmp_path / "device/current").exists()


@pytest.mark.parametrize(
    "content", ["[]", "{}", "null", '{"format": 1}', '{"format": 9}', "{", '{"format":1,"files":[]}']
)
def test_a_manifest_of_another_form_is_refused(content: str) -> None:
    with pytest.raises(BundleError):
        BundleManifest.from_bytes(content.encode())
    with pytest.raises(install.InstallError, match="expected a bundle of format 1"):
        install.parse_manifest(content.encode())


def test_a_deep_manifest_is_refused_by_the_installer() -> None:
    with pytest.raises(install.InstallError, match="found 'RecursionError"):
        install.parse_manifest(b"[" * 100_000)


def test_a_sparse_file_in_a_bundle_does_not_fill_the_disk(bundle: Path, tmp_path: Path) -> None:
    name = f"{TOP}/catalogue/manifest.json"
    bomb = tmp_path / "bomb.tar"
    with tarfile.open(bundle) as source, tarfile.open(bomb, "w", format=tarfile.PAX_FORMAT) as target:
        for info in source:
            if info.name == name:  # no byte of its own, and 4 MB of zeros, which may as well be a petabyte
                sparse = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "4000000,0"}
                info.pax_headers = sparse | {"GNU.sparse.size": "4000000"}
                info.size = 0
                target.addfile(info)
            else:
                target.addfile(info, source.extractfile(info))
    with pytest.raises(BundleError, match="expected files"):
        find_problems(bomb)
    done = run_installer(bomb, tmp_path / "device")
    assert done.returncode == 1 and "expected the files of the manifest alone" in done.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the keys and checks signatures on a device")
def test_a_signed_bundle_is_told_from_others(shelf: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    for name in ("shop", "thief"):
        key, public = tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
        subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
    wheels, bundle = write_stub_wheels(tmp_path / "wheels"), tmp_path / "kiosk.tar"
    write_bundle(shelf, bundle, HERE, wheels=wheels, key=tmp_path / "shop.pem")
    assert find_problems(bundle, tmp_path / "shop.pub") == []
    assert "that of another key" in find_problems(bundle, tmp_path / "thief.pub")[0]
    refused = run_installer(bundle, tmp_path / "device", "--public-key", tmp_path / "thief.pub")
    assert refused.returncode == 1 and "expected a signature by the owner" in refused.stderr
    assert run_installer(bundle, tmp_path / "device", "--public-key", tmp_path / "shop.pub").returncode == 0

    def forge(files: Files) -> None:
        manifest = json.loads(files[f"{TOP}/manifest.json"])
        files[f"{TOP}/manifest.json"] = json.dumps({**manifest, "products": 4}).encode()

    forged = changed(bundle, forge)
    assert "that of another key or manifest" in find_problems(forged, tmp_path / "shop.pub")[0]
    assert run_installer(forged, tmp_path / "other", "--public-key", tmp_path / "shop.pub").returncode == 1
    unsigned = changed(bundle, lambda files: files.pop(f"{TOP}/manifest.sig"))
    assert "found none" in find_problems(unsigned, tmp_path / "shop.pub")[0]
    assert run_installer(unsigned, tmp_path / "other", "--public-key", tmp_path / "shop.pub").returncode == 1


def test_a_key_of_another_kind_is_named(shelf: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    (tmp_path / "key.pem").write_text("no key")
    with pytest.raises(InputError, match="expected a private key as a PEM file"):
        sign(b"x", tmp_path / "key.pem")


def test_thumbnails_are_small_and_keep_their_paths(shelf: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    wheels = write_stub_wheels(tmp_path / "wheels")
    write_bundle(shelf, tmp_path / "x.tar", HERE, wheels=wheels, thumbnails=300, on_warning=notes.append)
    assert notes == ["1 pictures are not in the bundle: outside the catalogue's root, missing or unreadable"]
    shutil.rmtree(tmp_path / "shop")
    assert run_installer(tmp_path / "x.tar", tmp_path / "device").returncode == 0
    packed = Catalogue.load(tmp_path / "device/current/catalogue", allow_outside=True)
    paths = {product["id"]: packed.picture(product) for product in packed.products}
    assert paths["a"] is not None and paths["b"] is not None
    with Image.open(paths["a"]) as red, Image.open(paths["b"]) as blue:
        assert red.size == (300, 200) and blue.size == (20, 12)


def test_a_device_of_another_kind_refuses_the_bundle(shelf: Path, tmp_path: Path) -> None:
    other = next(name for name in ARCHITECTURES if name != platform.machine())
    path = tmp_path / "x.tar"
    write_bundle(shelf, path, Target(f"linux-{other}", "3.14"), wheels=write_stub_wheels(tmp_path / "wheels"))
    done = run_installer(path, tmp_path / "device")
    assert done.returncode == 1 and f"the bundle was made for, linux-{other}, Python 3.14, found" in done.stderr


def test_two_installers_do_not_meet(bundle: Path, tmp_path: Path) -> None:
    with install.locked(tmp_path / "device"):
        done = run_installer(bundle, tmp_path / "device")
    assert done.returncode == 1 and "expected no other installation, found one at work" in done.stderr


def test_bad_arguments_are_named_before_anything_is_written(shelf: Path, tmp_path: Path) -> None:
    other = tiny.write_artifact(tmp_path / "other", seed=7)
    wheels, out = write_stub_wheels(tmp_path / "wheels"), tmp_path / "x.tar"
    with pytest.raises(FingerprintMismatch, match="expected the model that embedded"):
        write_bundle(shelf, out, HERE, artifact=other, wheels=wheels)
    with pytest.raises(InputError, match="expected a folder of wheels"):
        write_bundle(shelf, out, HERE, wheels=tmp_path / "shop")
    with pytest.raises(InputError, match="expected an edge"):
        write_bundle(shelf, out, HERE, wheels=wheels, thumbnails=0)
    with pytest.raises(InputError, match="expected a wheel of clipshelf"):
        write_bundle(shelf, out, HERE, wheel=tmp_path / "none.whl")
    assert not out.exists()
    for name, python in (("linux-riscv64", "3.11"), ("linux-aarch64", "3.9"), ("linux-aarch64", "three")):
        with pytest.raises(InputError, match="expected"):
            Target(name, python)


def test_the_installer_shares_the_format_of_the_archive() -> None:
    ours = f"{archive.TOP}/", archive.MANIFEST, archive.SIGNATURE, archive.FORMAT
    assert ours == (install.TOP, install.MANIFEST, install.SIGNATURE, install.FORMAT)

"""`clipshelf bundle`: one file with all that a device without a network needs."""

from __future__ import annotations

import argparse
from pathlib import Path

from clipshelf.cli.options import Commands, positive
from clipshelf.cli.output import print_note

_THUMBNAIL = 400  # pixels


def add_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    bundle = commands.add_parser("bundle", help="pack a catalogue, its model and the runtime for a device")
    bundle.add_argument("catalogue", metavar="CATALOGUE", help="folder that `clipshelf index` wrote")
    bundle.add_argument("-o", "--out", metavar="FILE", required=True, help="the file to write, as in kiosk.tar")
    bundle.add_argument("--target", metavar="DEVICE", required=True, help="linux-aarch64 or linux-x86_64")
    bundle.add_argument("--python", metavar="VERSION", help="Python of the device, as in 3.12 (default: this one)")
    bundle.add_argument("--artifact", metavar="DIR", help="folder of the model (default: that of the catalogue)")
    bundle.add_argument(
        "--thumbnails",
        metavar="PIXELS",
        type=positive,
        nargs="?",
        const=_THUMBNAIL,
        help="carry the products' pictures, scaled to this longest edge (without a number: %(const)s)",
    )
    bundle.add_argument(
        "--extra", metavar="NAME", action="append", default=[], help="of clipshelf, as in serve; may be repeated"
    )
    bundle.add_argument(
        "--wheel", metavar="FILE", help="clipshelf's own wheel for the device (default: built here, or downloaded)"
    )
    bundle.add_argument("--wheels", metavar="DIR", help="folder with all wheels, instead of downloading them")
    bundle.add_argument("--key", metavar="KEY.pem", help="Ed25519 private key that signs the bundle")
    bundle.set_defaults(run=_bundle)


def _bundle(args: argparse.Namespace) -> int:
    from clipshelf.bundle.bundle import write_bundle
    from clipshelf.bundle.target import Target, this_python

    out = Path(args.out)
    manifest = write_bundle(
        args.catalogue,
        out,
        Target(args.target, args.python or this_python()),
        artifact=args.artifact,
        thumbnails=args.thumbnails,
        wheel=args.wheel,
        wheels=args.wheels,
        extras=args.extra,
        key=args.key,
        on_warning=print_note,
    )
    megabytes = out.stat().st_size / 1e6
    print(f"{out}: {manifest.products} products for {manifest.target}, Python {manifest.python}, {megabytes:.1f} MB")
    print(f"on the device: tar -xOf {out.name} clipshelf-bundle/install.py | python3 - {out.name} FOLDER")
    return 0

"""`clipshelf push`: an artifact to the Hugging Face hub."""

from __future__ import annotations

import argparse

from clipshelf.cli.options import Commands


def add_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("push", help="upload an artifact to the Hugging Face hub (needs clipshelf[hub])")
    parser.add_argument("dir", metavar="DIR", help="folder of an artifact")
    parser.add_argument("repository", metavar="ORG/NAME", help="a repository of models, made where it does not exist")
    parser.add_argument("--branch", metavar="B", default="main", help="to commit to (default: %(default)s)")
    parser.add_argument("--private", action="store_true", help="make a private repository")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from clipshelf.model.artifact import Artifact
    from clipshelf.model.hub import push

    reference = push(Artifact.open(args.dir), args.repository, branch=args.branch, private=args.private)
    print(f'{reference}\nEngine.load("{reference}") and --artifact {reference} open it')
    return 0

"""`python -m clipshelf_export SOURCE OUT`: the same as `clipshelf export`."""

from __future__ import annotations

import sys

from clipshelf.cli.main import main

sys.exit(main(["export", *sys.argv[1:]]))

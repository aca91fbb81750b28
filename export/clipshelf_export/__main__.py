"""`python -m clipshelf_export SOURCE OUT` is the same as `clipshelf export SOURCE OUT`."""

from __future__ import annotations

import sys

from clipshelf.cli.main import main

sys.exit(main(["export", *sys.argv[1:]]))

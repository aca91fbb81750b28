"""`python -m clipshelf_bench` is the command line."""

import sys

from clipshelf_bench.cli import main

sys.exit(main())

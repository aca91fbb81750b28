"""`python -m clipshelf` is the command line."""

import sys

from clipshelf.cli import main

sys.exit(main())

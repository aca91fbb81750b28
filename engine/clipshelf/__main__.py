"""`python -m clipshelf` is the command line."""

import sys

from clipshelf.cli.main import main

sys.exit(main())

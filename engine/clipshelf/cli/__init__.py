"""The command line, `clipshelf`."""

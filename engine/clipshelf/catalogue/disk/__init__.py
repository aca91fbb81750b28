"""A catalogue's folder: checksummed files, generations that are switched in one step, the journal, the full check."""

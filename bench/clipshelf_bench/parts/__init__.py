"""The parts of the bench: each measures one claim and gives rows for the report."""

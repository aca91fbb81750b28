"""The machine that is measured: what it is, its peaks, and the least time that a graph takes on it."""

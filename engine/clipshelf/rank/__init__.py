"""Exact top-k by inner product, by a float32 scan or by an int8 scan with a proof; usable on its own."""

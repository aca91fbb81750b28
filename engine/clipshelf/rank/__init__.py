"""Exact top-k by inner product, in float32 or by int8 with a proof; usable on its own."""

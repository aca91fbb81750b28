"""Words that products are found by: their tokens, and an index of them."""

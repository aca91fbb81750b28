"""The machine that was measured, its peaks, and how near a tower comes to them."""

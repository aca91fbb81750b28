"""Fair comparisons: a process per contender, rounds in random order, ratios of medians with intervals."""

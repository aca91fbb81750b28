"""Columns of one kind each: cells to values, kinds inferred or declared, values as small integers."""

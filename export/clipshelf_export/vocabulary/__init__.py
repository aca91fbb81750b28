"""Trim the vocabulary of a checkpoint to what a list of texts or some languages need."""

"""Inputs that every contender is given: made from seeds, or taken from free packages; and how they are read back."""

"""Inputs that all contenders share: made from seeds, or taken from free packages; and how workers read them back."""

"""Checkpoints, read from a folder or a hub and described as two towers without a framework."""

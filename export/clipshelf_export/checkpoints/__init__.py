"""Checkpoints read from disk or a hub, as two towers that name no framework."""

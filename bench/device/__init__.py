"""Proves clipshelf on a GPU: bench/device/README.md says how to run it."""

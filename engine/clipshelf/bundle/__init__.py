"""Bundles: one file with all that a device without a network needs to answer from a catalogue."""

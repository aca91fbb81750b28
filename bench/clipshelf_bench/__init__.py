"""Measures what clipshelf claims, against what a reader would use instead."""

"""The recipe of the embedded model: makes its checkpoint from packages. Run it with `python -m recipe`."""

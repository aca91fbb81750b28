"""The recipe of the default model: packages in, checkpoint out. Run it with `python -m recipe`."""

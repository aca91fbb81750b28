"""The HTTP service: one process around one engine and one catalogue. Needs the extra `serve`."""

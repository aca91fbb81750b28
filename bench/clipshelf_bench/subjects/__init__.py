"""The models that are measured: a checkpoint, an artifact or both, and the files that contenders make from them."""

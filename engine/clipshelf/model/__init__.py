"""One artifact: pictures and sentences to unit-norm embeddings."""

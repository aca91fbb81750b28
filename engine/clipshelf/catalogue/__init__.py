"""Products with their embeddings: read, embedded, filtered, kept on disk."""

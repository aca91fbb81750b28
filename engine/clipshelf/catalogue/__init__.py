"""Products and their embeddings: reading, embedding, filtering and storing them."""

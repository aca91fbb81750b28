"""Products with their embeddings: read, embedded, filtered, kept on disk.

sources, products      tables of any kind -> checked records
keys, embedding,       content -> embeddings, nothing embedded twice, resumable
journal, draft
columns, filters       typed columns and `where`
blocks, manifest,      one generation on disk: checksums, atomic switch, checks
generation, publish,
verify
indexing               whole steps for the command line
"""

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.products import Skipped

__all__ = ["Catalogue", "Skipped"]

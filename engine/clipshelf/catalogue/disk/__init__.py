"""A catalogue's folder: files with checksums, the manifest, generations, saving, the journal and the full check."""

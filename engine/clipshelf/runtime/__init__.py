"""The only importer of onnxruntime: execution providers, sessions, and the matrix products that ranking runs on."""

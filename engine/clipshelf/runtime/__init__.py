"""The only importer of onnxruntime: providers, sessions, and the products that ranking runs on."""

"""Towers as ONNX graphs."""

"""Towers written as ONNX graphs, in the precision that a plan gives."""

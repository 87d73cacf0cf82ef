"""Exports: a reproducible folder of a config, and the ensemble as ONNX."""

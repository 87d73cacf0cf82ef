"""One file per method; each is named in ``trainable/images/registry.py``."""

"""The commands of ``python -m trainable``: options and what is printed; the work is in the packages below."""

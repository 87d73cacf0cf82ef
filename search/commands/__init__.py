"""The commands of ``python -m search``; their logic is in the sub-packages below."""

"""The commands of ``python -m search``, a file each; what they do lies in the sub-packages below."""

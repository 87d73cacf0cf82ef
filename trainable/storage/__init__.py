"""Files and where they live: atomic writes, locks, object stores, cached copies. Nothing about images."""

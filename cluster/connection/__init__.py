"""Starting or joining Ray, its token, and jobs submitted to it."""

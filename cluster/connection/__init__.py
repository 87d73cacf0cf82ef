"""Starting or reaching a Ray, its token, and jobs sent to it."""

"""The live page: a server that shows every run, a report of each as it stands, and runs side by side; it only reads."""

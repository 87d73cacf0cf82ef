"""The report: one HTML file that says what a run found, with the answer first and the evidence below it.

Each file makes the figures of one question from the run's tables; ``page`` puts them on paper, ``write`` on disk.
"""

"""The report: one HTML file with the answer of a run first and the evidence below it.

Each file makes the figures of one question from the run's tables; ``page`` renders them and ``write`` saves them.
"""

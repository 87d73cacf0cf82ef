"""A driver's death, at a record of its journal: nothing that was not written is there."""


class Killed(Exception):
    pass


def die_after(journal, records):
    """Let so many records be written, and die of the next one."""
    real, left = journal.append, [records]

    def append(kind, **fields):
        if left[0] <= 0:
            raise Killed
        left[0] -= 1
        real(kind, **fields)

    journal.append = append

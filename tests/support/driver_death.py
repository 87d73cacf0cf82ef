"""The death of a driver before it writes a given record of its journal."""


class Killed(Exception):
    pass


def die_after(journal, records):
    """Allow this many records and raise ``Killed`` at the next one."""
    append, remaining = journal.append, [records]

    def limited_append(kind, **fields):
        if remaining[0] <= 0:
            raise Killed
        remaining[0] -= 1
        append(kind, **fields)

    journal.append = limited_append

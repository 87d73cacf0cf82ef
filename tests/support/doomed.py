"""``python -m search`` with a fate: ``python doomed.py FATE KIND COUNT WORDS...``

Once the journal has synced the COUNT-th record of this KIND ("any" counts all) that this driver writes, the driver is
killed, or interrupted (once or twice), or finds that the disk takes only half of the next record.
"""

import os
import resource
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from search.__main__ import app
from search.runs.journal import Journal
from search.runs.run_folder import STOP_FILE
from search.runs.study import Study
from trainable.exit_codes import run

FATE, KIND, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3])
del sys.argv[1:4]
append, fault, seen = Journal.append, Study.fault, 0


def fated_append(journal, kind, **fields):
    global seen
    append(journal, kind, **fields)
    if (KIND, kind) == ("lost", "job"):  # a job is given back when the run is stopped
        (journal.path.parent / STOP_FILE).touch()
    if KIND in ("any", kind):
        seen += 1
        if seen == COUNT:
            strike(journal)


def fated_fault(study, job, what):
    fault(study, job, what)
    if KIND == "stop":  # a report that is known is stopped when the budget ended while its fold was tried again
        study.policy.score_table.budget = 0.0


def strike(journal):
    if FATE == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if FATE == "full":  # for this process alone: the write beyond the limit fails in its middle
        limit = journal.path.stat().st_size + 40
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for _ in range({"interrupt": 1, "interrupt twice": 2}.get(FATE, 0)):
        os.kill(os.getpid(), signal.SIGINT)


Journal.append, Study.fault = fated_append, fated_fault
run(app)

"""``python -m search`` with an injected fault: ``python failing_driver.py FAULT KIND COUNT ARGUMENTS...``

Once this driver has synced its COUNT-th record of this KIND, it is killed, or interrupted (once or twice), or can write
only half of the next record, as on a full disk. "any" counts all kinds, "uploaded" the reports that follow the first
upload of a report.
"""

import os
import resource
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from search.__main__ import app
from search.run_storage.journal_segments import SegmentUploader
from search.runs.journal import Journal
from search.runs.run_folder import STOP_FILE
from search.runs.study import Study
from trainable.exit_codes import run

FAULT, KIND, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3])
del sys.argv[1:4]
append, record_fault, push = Journal.append, Study.fault, SegmentUploader.push
seen = reported = uploaded = 0


def failing_append(journal, kind, **fields):
    global seen, reported
    append(journal, kind, **fields)
    reported += kind == "report"
    if (KIND, kind) == ("lost", "job"):  # a stopped run returns its jobs
        (journal.path.parent / STOP_FILE).touch()
    if KIND in ("any", kind) or (KIND == "uploaded" and kind == "report" and uploaded):
        seen += 1
        if seen == COUNT:
            inject_fault(journal)


def exhaust_budget_after_fault(study, job, what):
    record_fault(study, job, what)
    if KIND == "stop":  # a recorded report gets a stop if the budget ends while its fold is retried
        study.policy.score_table.budget = 0.0


def counting_push(uploader, store):
    global uploaded
    before = reported
    push(uploader, store)
    uploaded = before


def inject_fault(journal):
    if FAULT == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if FAULT == "full":  # for this process only: a write beyond the limit fails halfway
        limit = journal.path.stat().st_size + 40
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for _ in range({"interrupt": 1, "interrupt twice": 2}.get(FAULT, 0)):
        os.kill(os.getpid(), signal.SIGINT)


Journal.append, Study.fault, SegmentUploader.push = failing_append, exhaust_budget_after_fault, counting_push
run(app)

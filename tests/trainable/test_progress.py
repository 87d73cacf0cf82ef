"""The lines of a fold's progress where there is no terminal."""

from dataclasses import dataclass

from trainable.progress import watch


@dataclass
class Report:
    step: int
    seconds: float
    scores: dict[str, float]

    def words(self, brief=False):
        return "2 images"


def test_a_report_without_new_images_has_no_rate(capsys):
    with watch(100, 0.5, "dice") as watcher:
        for step, seconds in ((10, 2.0), (20, 2.0), (40, 4.0)):
            watcher.report(Report(step, seconds, {"dice": 0.5, "miou": 0.4}))
    assert capsys.readouterr().err.splitlines() == [
        "step 10/100  2 images  dice 0.5000  2.5 images/s  0:18 left",
        "step 20/100  2 images  dice 0.5000",
        "step 40/100  2 images  dice 0.5000  5.0 images/s  0:06 left",
    ]

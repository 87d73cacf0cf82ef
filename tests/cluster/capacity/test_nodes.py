"""Nodes that come are asked, and those that are of no use are left out, by a clock and answers that the tests give."""

from cluster.capacity.nodes import AGAIN, STARTS, Nodes, Present

FIRST, SECOND = {"CPU": 2.0}, {"CPU": 4.0}


class Ray:
    """``said`` is what nodes answer: nothing, what is wrong, or None as long as they are silent."""

    def __init__(self, **said):
        self.nodes, self.said, self.asked, self.now = {"first": Present("10.0.0.1", FIRST)}, said, [], 0.0
        self.known = Nodes(self.ask, ["first"], lambda: self.nodes, lambda: self.now)

    def ask(self, node):
        self.asked.append(node)
        return lambda: self.said[node]

    def join(self):
        self.nodes["second"] = Present("10.0.0.2", SECOND)

    def later(self, seconds=2.0):
        self.now += seconds
        return self.known.machines()


def test_a_node_that_joins_gets_fold_trials_once_it_has_answered():
    ray = Ray(second=None)
    assert ray.later() == [FIRST] and ray.asked == [], "who was there at the launch was asked then"
    ray.join()
    assert ray.later() == [FIRST] and ray.later() == [FIRST] and ray.known.avoid == ()
    ray.said["second"] = ""
    assert ray.later() == [FIRST, SECOND] and ray.asked == ["second"]


def test_a_node_that_does_not_reach_the_runs_is_named_once_and_asked_again_after_a_minute(capsys):
    ray = Ray(second="does not see there what this machine wrote")
    ray.join()
    for _ in range(5):
        assert ray.later() == [FIRST] and ray.known.avoid == ("second",)
    assert ray.asked == ["second"]
    ray.later(AGAIN)
    assert ray.asked == ["second"] * 2
    told = capsys.readouterr().err
    assert told == "node 10.0.0.2 (second) is left out: does not see there what this machine wrote\n"
    ray.said["second"] = ""
    assert ray.later() == [FIRST]
    assert ray.later(AGAIN) == [FIRST, SECOND] and ray.known.avoid == ()


def test_a_node_that_has_gone_is_avoided_no_more():
    ray = Ray(second="is wrong")
    ray.join()
    ray.later()
    del ray.nodes["second"]
    assert ray.later() == [FIRST] and ray.known.avoid == ()


def test_a_node_that_starts_no_worker_gets_no_more_and_one_that_works_again_does(capsys):
    ray = Ray(second="")
    ray.join()
    ray.later()
    for _ in range(STARTS - 1):
        assert ray.known.blames("second", "No space left on device")
    ray.known.works("second")
    for _ in range(STARTS - 1):
        assert ray.known.blames("second", "No space left on device")
    assert ray.later() == [FIRST, SECOND] and ray.known.avoid == ()
    assert ray.known.blames("second", "No space left on device")
    for _ in range(3):
        assert ray.later(AGAIN) == [FIRST] and ray.known.avoid == ("second",)
    told = f"node 10.0.0.2 (second) is left out: {STARTS} workers in a row could not be started; the last one said: "
    assert capsys.readouterr().err == f"{told}No space left on device\n"


def test_the_last_node_is_not_blamed_nor_is_anybody_when_nobody_knows_where_it_was():
    ray = Ray()
    ray.later()
    for _ in range(2 * STARTS):
        assert not ray.known.blames("first", "No space left on device") and not ray.known.blames(None, "no code")
    assert ray.later() == [FIRST]


def test_one_that_has_not_answered_yet_or_goes_is_not_blamed_and_nothing_there_is_believed():
    ray = Ray(second=None)
    ray.join()
    ray.later()
    for node in ("second", "one that has gone"):
        assert ray.known.blames(node, "does not see the run") and not ray.known.knows(node)
    assert ray.known.knows("first") and ray.known.avoid == ()

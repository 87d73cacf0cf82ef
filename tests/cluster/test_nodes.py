"""Nodes that come are asked, and those that are of no use are left out, by a clock and answers that the tests give."""

from cluster.nodes import AGAIN, Nodes, Present

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

"""New nodes are checked and unusable ones excluded, with a fake clock and fake checks."""

from cluster.capacity.nodes import MAX_FAILED_STARTS, RETRY_SECONDS, NodeInfo, NodePool

FIRST, SECOND = {"CPU": 2.0}, {"CPU": 4.0}


class Ray:
    """``problems`` are the results of the checks: "", a problem, or None while a check is running."""

    def __init__(self, **problems):
        self.nodes, self.problems, self.checked, self.now = {"first": NodeInfo("10.0.0.1", FIRST)}, problems, [], 0.0
        self.pool = NodePool(self.check, ["first"], lambda: self.nodes, lambda: self.now)

    def check(self, node):
        self.checked.append(node)
        return lambda: self.problems[node]

    def join(self):
        self.nodes["second"] = NodeInfo("10.0.0.2", SECOND)

    def later(self, seconds=2.0):
        self.now += seconds
        return self.pool.machines()


def test_a_node_that_joins_gets_fold_trials_once_its_check_passes():
    ray = Ray(second=None)
    assert ray.later() == [FIRST] and ray.checked == [], "the launch has checked the first node"
    ray.join()
    assert ray.later() == [FIRST] and ray.later() == [FIRST] and ray.pool.avoid == ()
    ray.problems["second"] = ""
    assert ray.later() == [FIRST, SECOND] and ray.checked == ["second"]


def test_a_node_that_cannot_access_the_runs_is_reported_once_and_checked_again_after_a_minute(capsys):
    ray = Ray(second="cannot read what this machine wrote there")
    ray.join()
    for _ in range(5):
        assert ray.later() == [FIRST] and ray.pool.avoid == ("second",)
    assert ray.checked == ["second"]
    ray.later(RETRY_SECONDS)
    assert ray.checked == ["second"] * 2
    assert capsys.readouterr().err == "node 10.0.0.2 (second) is excluded: cannot read what this machine wrote there\n"
    ray.problems["second"] = ""
    assert ray.later() == [FIRST]
    assert ray.later(RETRY_SECONDS) == [FIRST, SECOND] and ray.pool.avoid == ()


def test_a_node_that_has_left_is_no_longer_avoided():
    ray = Ray(second="is wrong")
    ray.join()
    ray.later()
    del ray.nodes["second"]
    assert ray.later() == [FIRST] and ray.pool.avoid == ()


def test_a_node_is_excluded_after_consecutive_failed_starts_only(capsys):
    ray = Ray(second="")
    ray.join()
    ray.later()
    for _ in range(MAX_FAILED_STARTS - 1):
        assert ray.pool.worker_failed("second", "No space left on device")
    ray.pool.worker_reported("second")
    for _ in range(MAX_FAILED_STARTS - 1):
        assert ray.pool.worker_failed("second", "No space left on device")
    assert ray.later() == [FIRST, SECOND] and ray.pool.avoid == ()
    assert ray.pool.worker_failed("second", "No space left on device")
    for _ in range(3):
        assert ray.later(RETRY_SECONDS) == [FIRST] and ray.pool.avoid == ("second",)
    reason = f"{MAX_FAILED_STARTS} workers in a row failed to start; last error: No space left on device"
    assert capsys.readouterr().err == f"node 10.0.0.2 (second) is excluded: {reason}\n"


def test_neither_the_only_node_nor_an_unknown_node_is_blamed():
    ray = Ray()
    ray.later()
    for _ in range(2 * MAX_FAILED_STARTS):
        assert not ray.pool.worker_failed("first", "No space left on device") and not ray.pool.worker_failed(
            None, "no code"
        )
    assert ray.later() == [FIRST]


def test_a_node_that_is_unchecked_or_gone_is_to_blame_but_not_excluded():
    ray = Ray(second=None)
    ray.join()
    ray.later()
    for node in ("second", "a node that has left"):
        assert ray.pool.worker_failed(node, "does not see the run") and not ray.pool.trusts(node)
    assert ray.pool.trusts("first") and ray.pool.avoid == ()


def test_a_node_with_a_full_disk_is_excluded_for_a_minute_while_another_can_go_on(capsys):
    ray = Ray(second="")
    ray.join()
    assert ray.later() == [FIRST, SECOND]
    assert ray.pool.write_failed("second", "last.pt: cannot be written")
    assert ray.later() == [FIRST] and ray.pool.avoid == ("second",)
    assert ray.pool.write_failed("second", "last.pt: cannot be written"), "another fold trial that was running there"
    assert not ray.pool.write_failed("first", "last.pt: cannot be written"), "which would leave no node"
    assert ray.later(RETRY_SECONDS) == [FIRST, SECOND]
    assert capsys.readouterr().err == "node 10.0.0.2 (second) is excluded: last.pt: cannot be written\n"


def test_a_node_whose_disk_is_full_again_is_excluded_twice_as_long_though_it_reports_between():
    """A fold trial reports several times before it saves what has no room."""
    ray = Ray(second="")
    ray.join()
    assert ray.later() == [FIRST, SECOND]
    for seconds in (RETRY_SECONDS, 2 * RETRY_SECONDS, 4 * RETRY_SECONDS):
        ray.pool.worker_reported("second")
        assert ray.pool.write_failed("second", "last.pt: cannot be written")
        assert ray.later(seconds - 1) == [FIRST] and ray.later(1) == [FIRST, SECOND]


def test_nodes_that_all_lack_space_do_not_take_turns_forever():
    ray = Ray(first="", second="", third="")
    ray.join()
    ray.nodes["third"] = NodeInfo("10.0.0.3", FIRST)
    waiting = ["first", "second", "third"]
    for _ in range(100):
        ray.later(RETRY_SECONDS / 2)  # which a fold trial takes until it saves
        node = next(node for node in waiting if ray.pool.trusts(node))
        waiting.append(waiting.pop(waiting.index(node)))
        if not ray.pool.write_failed(node, "last.pt: cannot be written"):
            return
    raise AssertionError("the run would not end")


def test_a_full_disk_of_the_only_node_or_an_unknown_one_is_no_reason_to_go_on_elsewhere():
    ray = Ray()
    ray.later()
    assert not ray.pool.write_failed("first", "full") and not ray.pool.write_failed(None, "full")
    assert ray.later() == [FIRST]

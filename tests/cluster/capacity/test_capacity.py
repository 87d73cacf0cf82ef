"""Machines come and go, by a clock and a Ray that the tests are."""

import threading

import pytest

from cluster.capacity.capacity import SECONDS, Capacity, wait_for_room
from cluster.capacity.nodes import Nodes, Present
from trainable.errors import UserError
from trainable.machine.allotment import Share
from trainable.machine.memory_footprint import GIB, Card, Footprint

A100 = {"CPU": 8.0, "GPU": 2.0, "accelerator_type:A100": 1.0}
T4 = {"CPU": 4.0, "GPU": 1.0, "accelerator_type:T4": 1.0}


class Ray:
    def __init__(self, *machines, cpu=1.0, gpu="auto", measure=None):
        self.machines, self.now, self.looks, self.requests = list(machines), 0.0, 0, []
        self.capacity = Capacity(cpu, gpu, measure, Nodes(look=self.look), self.request, lambda: self.now)

    def look(self):
        self.looks += 1
        return {f"{id(machine)}": Present("10.0.0.1", machine) for machine in self.machines}

    def request(self, bundles):
        self.requests.append(bundles)

    def later(self, seconds=SECONDS):
        self.now += seconds
        return self.capacity()


def footprint(gib, card=80):
    return Footprint(gib * GIB, 0, Card("a card", card * GIB))


def test_a_machine_that_joins_is_used_at_the_next_look_and_one_that_left_is_not():
    ray = Ray({"CPU": 2.0}, gpu=0.0)
    assert ray.capacity() == [Share(slots=2)]
    ray.machines.append({"CPU": 4.0})
    assert ray.later(SECONDS / 2) == [Share(slots=2)] and ray.looks == 1, "it is not asked at every turn"
    assert ray.later() == [Share(slots=6)]
    del ray.machines[0]
    assert ray.later() == [Share(slots=4)]


def test_a_new_kind_of_gpu_is_measured_aside_while_the_others_go_on():
    measured, may_end = [], threading.Event()

    def measure(kind):
        measured.append(kind)
        if kind == "T4":
            may_end.wait(60)
        return footprint(30, {"A100": 80, "T4": 40}[kind])

    ray = Ray(A100, measure=measure)
    assert [(share.kind, share.slots) for share in ray.capacity()] == [("A100", 4)]
    ray.machines.append(T4)
    assert [share.kind for share in ray.later()] == ["A100"]
    may_end.set()
    ray.capacity.measured["T4"].result()
    assert [(share.kind, share.slots) for share in ray.later()] == [("A100", 4), ("T4", 1)]
    ray.later()
    assert measured == ["A100", "T4"], "once for each kind"


def test_a_kind_that_a_config_does_not_fit_on_is_left_out_and_told_once(capsys):
    def measure(kind):
        if kind == "T4":
            raise UserError("one fold trial of batch_size 12 does not fit on a GPU")
        return footprint(30)

    ray = Ray(A100, T4, measure=measure)
    ray.capacity()
    ray.capacity.measured["T4"].exception()
    assert [share.kind for share in ray.later()] == ["A100"] and [share.kind for share in ray.later()] == ["A100"]
    assert capsys.readouterr().err.count("T4 is left out: one fold trial of batch_size 12 does not fit") == 1


def test_where_it_fits_nowhere_that_is_the_error():
    def measure(kind):
        raise UserError("one fold trial of batch_size 12 does not fit on a GPU")

    with pytest.raises(UserError, match="batch_size 12 does not fit"):
        Ray(T4, measure=measure).capacity()


def test_an_autoscaler_is_asked_for_twice_what_runs_while_jobs_wait_and_for_nothing_at_the_end():
    ray = Ray(A100, gpu=0.5)
    ray.capacity()
    ray.capacity.hint(4, lambda: True)
    ray.capacity.hint(4, lambda: True)
    assert ray.requests == [[{"GPU": 1.0}] * 4], "eight halves; and not at every turn"
    ray.now += SECONDS
    ray.capacity.hint(4, lambda: False)
    assert ray.requests[-1] == [{"GPU": 1.0}] * 2
    ray.capacity.no_more()
    assert ray.requests[-1] == []


def test_a_cluster_that_begins_with_no_machine_asks_for_one_and_waits(capsys):
    ray = Ray({"memory": 1e9}, gpu=1.0)

    def sleep(seconds):
        ray.now += seconds
        if ray.now > 3 * SECONDS:
            ray.machines.append(A100)

    wait_for_room(ray.capacity, sleep)
    assert ray.requests[0] == [{"GPU": 1.0}] and ray.capacity()[0].slots == 2
    assert capsys.readouterr().err.count("no machine of the cluster can hold a fold trial yet") == 1

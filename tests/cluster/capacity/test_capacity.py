"""Machines come and go, with a fake clock and a fake Ray."""

import threading
from types import SimpleNamespace

import pytest
from ray.exceptions import RayTaskError, WorkerCrashedError

from cluster import preparation
from cluster.capacity.capacity import REFRESH_SECONDS, Capacity, wait_for_machine
from cluster.capacity.nodes import NodeInfo, NodePool
from cluster.preparation import measure_on_node
from trainable.errors import UserError
from trainable.machine.allotment import Allotment
from trainable.machine.memory_footprint import GIB, Card, Footprint

A100 = {"CPU": 8.0, "GPU": 2.0, "accelerator_type:A100": 1.0}
T4 = {"CPU": 4.0, "GPU": 1.0, "accelerator_type:T4": 1.0}


class Ray:
    def __init__(self, *machines, cpu=1.0, gpu="auto", measure=None):
        self.machines, self.now, self.listings, self.requests = list(machines), 0.0, 0, []
        self.capacity = Capacity(
            cpu, gpu, measure, NodePool(list_nodes=self.list_nodes), self.request, lambda: self.now
        )

    def list_nodes(self):
        self.listings += 1
        return {f"{id(machine)}": NodeInfo("10.0.0.1", machine) for machine in self.machines}

    def request(self, bundles):
        self.requests.append(bundles)

    def later(self, seconds=REFRESH_SECONDS):
        self.now += seconds
        return self.capacity()


def footprint(gib, card=80):
    return Footprint(gib * GIB, 0, Card("a card", card * GIB))


def test_a_machine_that_joins_is_used_at_the_next_refresh_and_one_that_left_is_not():
    ray = Ray({"CPU": 2.0}, gpu=0.0)
    assert ray.capacity() == [Allotment(slots=2)]
    ray.machines.append({"CPU": 4.0})
    assert ray.later(REFRESH_SECONDS / 2) == [Allotment(slots=2)] and ray.listings == 1, (
        "Ray is not polled at every call"
    )
    assert ray.later() == [Allotment(slots=6)]
    del ray.machines[0]
    assert ray.later() == [Allotment(slots=4)]


def test_a_new_kind_of_gpu_is_measured_in_the_background():
    measured, may_end = [], threading.Event()

    def measure(kind):
        measured.append(kind)
        if kind == "T4":
            may_end.wait(60)
        return footprint(30, {"A100": 80, "T4": 40}[kind])

    ray = Ray(A100, measure=measure)
    assert [(allotment.kind, allotment.slots) for allotment in ray.capacity()] == [("A100", 4)]
    ray.machines.append(T4)
    assert [allotment.kind for allotment in ray.later()] == ["A100"]
    may_end.set()
    ray.capacity.measured["T4"].result()
    assert [(allotment.kind, allotment.slots) for allotment in ray.later()] == [("A100", 4), ("T4", 1)]
    ray.later()
    assert measured == ["A100", "T4"], "once for each kind"


def test_a_kind_that_a_config_does_not_fit_on_is_excluded_and_reported_once(capsys):
    def measure(kind):
        if kind == "T4":
            raise UserError("one fold trial of batch_size 12 does not fit on a GPU")
        return footprint(30)

    ray = Ray(A100, T4, measure=measure)
    ray.capacity()
    ray.capacity.measured["T4"].exception()
    assert [allotment.kind for allotment in ray.later()] == ["A100"]
    assert [allotment.kind for allotment in ray.later()] == ["A100"]
    assert capsys.readouterr().err.count("T4 is not used: one fold trial of batch_size 12 does not fit") == 1


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (RayTaskError("measure", "", UserError("batch_size 12 does not fit")), "batch_size 12 does not fit"),
        (RayTaskError("measure", "", OSError("no driver")), r"T4: memory cannot be measured \(no driver\)"),
        (WorkerCrashedError(), r"T4: memory cannot be measured \(The worker died unexpectedly"),
    ],
)
def test_a_measurement_that_fails_or_whose_worker_dies_excludes_its_kind(problem, message, monkeypatch):
    def get(reference):
        raise problem

    task = SimpleNamespace(remote=lambda: None)
    monkeypatch.setattr(preparation.ray, "remote", lambda **options: lambda work: task)
    monkeypatch.setattr(preparation.ray, "get", get)
    ray = Ray(A100, T4, measure=lambda kind: footprint(30) if kind == "A100" else measure_on_node(footprint, kind))
    assert [allotment.kind for allotment in ray.capacity()] == ["A100"]
    with pytest.raises(UserError, match=message):
        ray.capacity.measured["T4"].result()
    assert [allotment.kind for allotment in ray.later()] == ["A100"]


def test_a_config_that_fits_on_no_gpu_is_an_error():
    def measure(kind):
        raise UserError("one fold trial of batch_size 12 does not fit on a GPU")

    with pytest.raises(UserError, match="batch_size 12 does not fit"):
        Ray(T4, measure=measure).capacity()


def test_the_autoscaler_gets_requests_for_twice_the_running_jobs_and_none_at_the_end():
    ray = Ray(A100, gpu=0.5)
    ray.capacity()
    ray.capacity.request_machines(4, lambda: True)
    ray.capacity.request_machines(4, lambda: True)
    assert ray.requests == [[{"GPU": 1.0}] * 4], "eight halves, and not at every call"
    ray.now += REFRESH_SECONDS
    ray.capacity.request_machines(4, lambda: False)
    assert ray.requests[-1] == [{"GPU": 1.0}] * 2
    ray.capacity.release()
    assert ray.requests[-1] == []


def test_a_cluster_without_machines_requests_one_and_waits(capsys):
    ray = Ray({"memory": 1e9}, gpu=1.0)

    def sleep(seconds):
        ray.now += seconds
        if ray.now > 3 * REFRESH_SECONDS:
            ray.machines.append(A100)

    wait_for_machine(ray.capacity, sleep)
    assert ray.requests[0] == [{"GPU": 1.0}] and ray.capacity()[0].slots == 2
    assert capsys.readouterr().err.count("no machine of the cluster has room for a fold trial yet") == 1

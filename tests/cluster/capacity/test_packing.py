"""How many fold trials run at once, computed by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.capacity.packing import GRAIN, MARGIN, MAX_PER_GPU, allotments_of
from trainable.machine.allotment import Allotment
from trainable.machine.memory_footprint import GIB, Card, Footprint


def footprint(tensors, context, memory):
    return Footprint(int(tensors * GIB), int(context * GIB), Card("a card", int(memory * GIB)))


def allotment_of(have, cpu, gpu, measure=None):
    (found,) = allotments_of([have], cpu, gpu, measure)
    return found


def never(kind):
    raise AssertionError("no measurement is needed")


@pytest.mark.parametrize(
    ("have", "cpu", "gpu", "allotment"),
    [
        ({"CPU": 2.0}, "auto", "auto", Allotment(1.0, 0.0, 2)),
        ({"CPU": 8.0}, 2.0, "auto", Allotment(2.0, 0.0, 4)),
        ({"CPU": 16.0, "GPU": 1.0}, 2.0, 1.0, Allotment(2.0, 1.0, 1)),
        # A quarter of a GPU: four on each of two, which also takes 4 x 2 x 2 = 16 cores.
        ({"CPU": 16.0, "GPU": 2.0}, 2.0, 0.25, Allotment(2.0, 0.25, 8, 0.25)),
        # The cores hold fewer than the GPUs would.
        ({"CPU": 4.0, "GPU": 2.0}, 2.0, 0.25, Allotment(2.0, 0.25, 2, 0.25)),
        # Two of 0.4 on each GPU; the two remainders of 0.2 are on different GPUs and hold no fifth.
        ({"CPU": 8.0, "GPU": 2.0}, 1.0, 0.4, Allotment(1.0, 0.4, 4, 0.4)),
        ({"CPU": 8.0, "GPU": 4.0}, 1.0, 2.0, Allotment(1.0, 2.0, 2)),
        # A request for more cores than there are gets all of them.
        ({"CPU": 2.0}, 16.0, 0.0, Allotment(2.0, 0.0, 1)),
        # An unused GPU does not change the cores.
        ({"CPU": 2.0, "GPU": 1.0}, "auto", 0.0, Allotment(1.0, 0.0, 2)),
    ],
)
def test_a_machine_is_divided_as_requested(have, cpu, gpu, allotment):
    assert allotment_of(have, cpu, gpu, never) == allotment


def test_without_a_measurement_each_fold_trial_gets_a_gpu_and_its_part_of_the_cores():
    assert allotment_of({"CPU": 16.0, "GPU": 2.0}, "auto", "auto") == Allotment(8.0, 1.0, 2)


@pytest.mark.parametrize(
    ("have", "cpu", "taken", "allotment"),
    [
        # (9.5 + 0.5) x 1.1 = 11 GiB: 24 / 11 holds two; half of 24 minus a context of 0.5 is 11.5 of 24 for tensors.
        ({"CPU": 8.0, "GPU": 1.0}, 2.0, footprint(9.5, 0.5, 24), Allotment(2.0, 0.5, 2, 11.5 / 24)),
        # 40 / 11 holds three, for which 16 cores give 5 each: 15 of 16.
        ({"CPU": 16.0, "GPU": 1.0}, "auto", footprint(9.5, 0.5, 40), Allotment(5.0, 0.3333, 3, 1 / 3 - 0.5 / 40)),
        # Twelve would fit on each of two GPUs; 16 cores feed 16 / 2 / 2 = 4 on each.
        ({"CPU": 16.0, "GPU": 2.0}, 2.0, footprint(9.5, 0.5, 140), Allotment(2.0, 0.25, 8, 0.25 - 0.5 / 140)),
        # Never more than eight on a GPU, however small.
        ({"CPU": 64.0, "GPU": 1.0}, "auto", footprint(0.5, 0.5, 140), Allotment(8.0, 0.125, 8, 0.125 - 0.5 / 140)),
        # 21 of 24 do not fit twice, and with the margin not even once, but it did when it was measured.
        ({"CPU": 4.0, "GPU": 1.0}, 1.0, footprint(22.5, 0.5, 24), Allotment(1.0, 1.0, 1)),
        # Fewer cores than GPUs.
        ({"CPU": 2.0, "GPU": 4.0}, "auto", footprint(1, 0.5, 24), Allotment(1.0, 1.0, 2)),
    ],
)
def test_auto_packs_as_many_as_the_measurement_allows(have, cpu, taken, allotment):
    found = allotment_of(have, cpu, "auto", lambda kind: taken)
    assert (found.cpus, found.gpus, found.slots) == (allotment.cpus, allotment.gpus, allotment.slots)
    assert found.memory == pytest.approx(allotment.memory, abs=1e-6)


@settings(max_examples=300)
@given(
    cores=st.integers(1, 256),
    cards=st.integers(1, 8),
    cpu=st.one_of(st.just("auto"), st.integers(1, 8).map(float)),
    tensors=st.floats(0.1, 100),
    context=st.floats(0, 2),
    memory=st.floats(4, 200),
)
def test_what_is_packed_fits(cores, cards, cpu, tensors, context, memory):
    taken = footprint(min(tensors, memory), context, memory)
    allotment = allotment_of({"CPU": float(cores), "GPU": float(cards)}, cpu, "auto", lambda kind: taken)
    assert allotment.slots >= 1 and allotment.cpus >= 1 and allotment.slots * allotment.cpus <= cores
    assert allotment.gpus * GRAIN == pytest.approx(round(allotment.gpus * GRAIN), abs=1e-6), "Ray would round it"
    on_card = round(1 / allotment.gpus)
    assert (
        on_card <= MAX_PER_GPU
        and on_card * round(allotment.gpus * GRAIN) <= GRAIN
        and allotment.slots <= on_card * cards
    )
    if on_card > 1:
        limit = allotment.memory * taken.card.memory
        assert limit >= taken.tensors and on_card * (limit + taken.context) <= taken.card.memory * (1 + 1e-9)
        assert on_card * taken.total * MARGIN <= taken.card.memory


A100, T4 = {"CPU": 16.0, "GPU": 2.0, "accelerator_type:A100": 1.0}, {"CPU": 4.0, "GPU": 1.0, "accelerator_type:T4": 1.0}
HEAD = {"memory": 1e9}  # Ray omits resources that a machine does not have


def test_each_kind_of_gpu_is_packed_by_its_own_measurement():
    measured = {"A100": footprint(9.5, 0.5, 80), "T4": footprint(9.5, 0.5, 16)}
    a100, t4 = allotments_of([HEAD, A100, T4, A100, {"CPU": 64.0}], "auto", "auto", measured.__getitem__)
    # 80 / 11 holds seven on each of 2 x 2 GPUs, 16 cores for 14 are one each; a GPU of 16 holds one.
    assert (a100.kind, a100.gpus, a100.cpus, a100.slots) == ("A100", 1428 / GRAIN, 1.0, 28)
    assert (t4.kind, t4.gpus, t4.cpus, t4.slots) == ("T4", 1.0, 4.0, 1)


def test_machines_without_room_for_a_fold_trial_are_ignored():
    assert allotments_of([HEAD], "auto", "auto") == []
    assert allotments_of([HEAD, T4, {"CPU": 64.0}], 1.0, 2.0) == []
    assert [allotment.kind for allotment in allotments_of([T4, A100], 1.0, 2.0)] == ["A100"]
    assert allotments_of([{"CPU": 4.0}, {"CPU": 2.0}], 2.0, "auto") == [Allotment(2.0, 0.0, 3)]


def test_the_kind_of_gpu_is_ignored_if_fold_trials_use_none():
    assert allotments_of([A100, T4, {"CPU": 4.0}], 2.0, 0.0) == [Allotment(2.0, 0.0, 12)]

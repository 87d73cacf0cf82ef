"""Patches of Ray that other tests cannot provoke at will."""

import pytest
from ray.air.execution import PlacementGroupResourceManager
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import OutOfMemoryError

from cluster.connection.ray_workarounds import workers_short_of_memory_fail_alone


@pytest.fixture
def failed_task(monkeypatch):
    """Let a task of an actor fail with an error; returns the errors that Tune is told of."""
    errors = []
    manager = RayActorManager(resource_manager=PlacementGroupResourceManager())
    actor = TrackedActor(actor_id=1, on_error=lambda _, error: errors.append(error))

    monkeypatch.setattr(manager, "_cleanup_actor", lambda tracked_actor: None)  # there is no real actor

    def fail(error):
        manager._actor_task_failed(TrackedActorTask(actor), error)
        return errors

    return fail


def test_a_worker_killed_for_lack_of_memory_ends_only_its_own_trial(failed_task):
    killed = OutOfMemoryError("2 worker(s) were killed due to the node running low on memory")
    with workers_short_of_memory_fail_alone():
        assert failed_task(killed) == [killed]
    with pytest.raises(RuntimeError, match="low on memory"):
        failed_task(killed)

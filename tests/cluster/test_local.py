import pytest

from cluster.local import Share, share_of
from trainable.errors import UserError


@pytest.mark.parametrize(
    ("have", "cpu", "gpu", "share"),
    [
        ({"CPU": 2.0}, "auto", "auto", Share(1.0, 0.0, 2)),
        ({"CPU": 8.0}, 2.0, "auto", Share(2.0, 0.0, 4)),
        ({"CPU": 16.0, "GPU": 1.0}, 2.0, "auto", Share(2.0, 1.0, 1)),
        # A quarter of a GPU: four on each of two, which also takes 4 x 2 x 2 = 16 cores.
        ({"CPU": 16.0, "GPU": 2.0}, 2.0, 0.25, Share(2.0, 0.25, 8)),
        # The cores hold fewer than the GPUs would.
        ({"CPU": 4.0, "GPU": 2.0}, 2.0, 0.25, Share(2.0, 0.25, 2)),
        # More cores than there are is as many as there are.
        ({"CPU": 2.0}, 16.0, 0.0, Share(2.0, 0.0, 1)),
    ],
)
def test_a_machine_is_shared_out(have, cpu, gpu, share):
    assert share_of(have, cpu, gpu) == share


def test_more_gpus_than_there_are_is_an_error():
    with pytest.raises(UserError, match=r"resources\.gpu = 2: .* more GPUs than there are \(1\)"):
        share_of({"CPU": 8.0, "GPU": 1.0}, 1.0, 2.0)

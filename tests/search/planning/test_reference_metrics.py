"""What a launch says of published figures by metrics that the data do not have."""

from search.planning.label_check import check_space_labels
from spaces.load import make_space


def test_figures_by_unknown_metrics_are_warned_of_and_do_not_prevent_a_launch(small_folder):
    references = [{"source": "A text", "scores": {"miou": 0.6, "iou_foregruond": 0.5, "dice_volume": 0.7}}]
    tree = {"name": "small", "data": str(small_folder), "parameters": {"loss": "iou"}}
    space = make_space({**tree, "references": references})
    unknown, of_volumes = check_space_labels(space, [point.config for point in space.configs()])
    assert unknown.startswith("references: metric 'iou_foregruond': unknown. Did you mean 'iou_foreground'")
    assert of_volumes.startswith("references: metric 'dice_volume': the data set has no")
    assert check_space_labels(make_space(tree), []) == []

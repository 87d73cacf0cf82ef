"""Spaces of the finished runs that tests share, each for a small data set."""

SMALL_SPACE = """
name: small
data: {data}
folds: 3
parameters:
  learning_rate: {{values: [1e-3, 1e-2]}}
  encoder: test_resnet
  attention: none
  batch_size: 4
  steps: 2
  evaluations: 1
scheduler: grid
"""

CLASS_SPACE = """
name: classes
data: {data}
folds: 3
metric: {{name: dice_volume}}
parameters:
  inputs: {{values: [image, image+scribble]}}
  class_weights: "1,4,4,4"
  learning_rate: 1e-2
  encoder: test_resnet
  attention: none
  batch_size: 4
  size: 64x64
  augmentation: none
  steps: 16
  evaluations: 2
  ema: 0.5
scheduler: grid
"""

SCRIBBLE_SPACE = """
name: scribbles
data: {data}
folds: 3
validation: val
metric: {{name: dice}}
parameters:
  supervision: scribbles
  inputs: image
  pc: {{values: [1, 3]}}
  learning_rate: 1e-2
  encoder: test_resnet
  attention: none
  batch_size: 4
  size: 64x64
  steps: 2
  evaluations: 1
  ema: 0.5
scheduler: grid
"""

IMAGE_SPACE = """
name: images
data: {data}
folds: 3
trainable: image
parameters:
  method: {{values: [nearest, random_walker]}}
  walker_beta: {{values: [50, 500], when: {{method: random_walker}}}}
  steps: 4
  evaluations: 2
scheduler: grid
"""

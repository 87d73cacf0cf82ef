"""From a sample to a training batch: what each augmentation level does, and in which order batches come."""

"""The stage before training: self-distillation of an encoder on images without labels, and the weights it leaves."""

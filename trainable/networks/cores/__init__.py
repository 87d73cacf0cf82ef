"""The cores of all networks, one file each: functions from a config to a module of channels in and logits out."""

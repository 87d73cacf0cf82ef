"""How many fold trials fit on which machines."""

"""The machines of a run: their capacity, the connection to them, and checks of their health."""

"""What comes in: pure functions from bytes to the words of model.py. They never wait, read or write anything."""

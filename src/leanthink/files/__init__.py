"""Files, read within limits and written whole or not at all: the one way for every file of the library."""

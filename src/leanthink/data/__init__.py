"""Rows in, rows out: files of rollouts and problems, read, checked and prepared."""

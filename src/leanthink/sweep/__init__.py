"""Sweeps: many runs from one file, side by side or one after another, on one machine or on a cluster.

`plan` turns the file into runs, `store` keeps what became of each, `schedule` runs them through a launcher (`local`,
`slurm`; Ray's is in `leanthink.verl`), `table` writes the results.
"""

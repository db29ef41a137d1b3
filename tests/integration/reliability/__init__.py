"""Test the promise of docs/reliability.md: crash runs at every point, and kill them at random times.

scenario.py     what is moved, and what the target held before     backends.py   state stores and targets
child.py        the process that crashes; it is forked, so a crash costs milliseconds
matrix.py       a crash at every point of a run, then a rerun      check.py      what must hold afterwards
random_kills.py signal 9 from outside at random times              report.py     the tables of docs/reliability.md
"""

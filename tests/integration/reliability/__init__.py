"""The promise of docs/reliability.md, tried: deaths at every point, and deaths at random moments.

scenario.py     what is moved, and what stood there before         backends.py   where: state stores and targets
child.py        the process that dies; forked, so a death costs milliseconds
matrix.py       a death at every point of a run, then a rerun      check.py      what must hold afterwards
random_kills.py kill -9 from outside at random moments             report.py     the tables of docs/reliability.md
"""

"""The measurements: one module per part of the command line, and modules that two of them share.

A part is a function from a `Bench` to tables. The first line of its docstring is its help on the command line.
"""

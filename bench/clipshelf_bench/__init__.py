"""Measures what clipshelf claims, beside what a reader would use instead.

Each line may import the lines above it, never those below:

    arrays                 array aliases
    stats, tables          medians, intervals and accuracy; what a part hands to the report
    datasets, machine      input files; the computer that is measured
    subjects               the models that are measured
    contenders             the ways to do the tasks, one module each
    race                   a process per contender, rounds in random order
    bench                  what all parts of one run share
    parts                  the measurements, one module each
    report, compare        results as Markdown, JSON and plots; two results compared
    cli                    the command line

`docs/design-notes/bench.md` explains how a comparison is kept fair, and which command measures what.
"""

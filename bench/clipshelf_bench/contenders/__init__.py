"""The ways to do the tasks, one module each. `base` explains what a contender is, `roster` lists them all."""

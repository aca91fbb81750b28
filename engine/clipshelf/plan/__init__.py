"""How many machines a catalogue and its traffic need: measured rates, arithmetic, and a simulation of the queues."""

"""Products in PostgreSQL with pgvector: a catalogue is written to a table, and recommendations are answered from it.

Only this package imports psycopg and pgvector, which the extra `postgres` has.
"""

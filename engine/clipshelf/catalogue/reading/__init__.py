"""Tables from outside: CSV, JSON, Parquet and tables in memory, to checked records."""

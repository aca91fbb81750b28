"""Queries to recommendations: `Query -> ResolvedQuery -> Signals -> QueryVector -> Hits -> Recommendations`."""

"""Measures recommendations on logged sessions: settings and models side by side, with how sure the numbers are."""

"""The search for the cheapest int8 plan of a tower that is faithful enough."""

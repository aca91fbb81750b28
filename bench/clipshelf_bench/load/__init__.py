"""Load on HTTP services: clients in closed and open loops, and the services that are compared."""

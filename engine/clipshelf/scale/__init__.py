"""Catalogues past one machine: hash shards, which Ray embeds and ranks, with the answers of one machine to the bit."""

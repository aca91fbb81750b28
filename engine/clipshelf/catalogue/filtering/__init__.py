"""The language of filters, and what a filter lets through."""

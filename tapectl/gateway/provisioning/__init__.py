"""A library as a file says it: read, compared with what there is, and made so."""

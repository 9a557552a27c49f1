"""Timings of the library and the application, each printed as a table and a line of JSON."""

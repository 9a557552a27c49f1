"""Facial emotion recognition with networks built on `tinycnn`."""

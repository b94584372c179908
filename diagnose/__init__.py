"""Names the cause of a firing alert on a Go service: traces, profiles and the SQL behind every sentence."""

__version__ = "0.1.0"

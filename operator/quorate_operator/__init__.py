"""The operator: watches the custom resources, gathers, lets `quorate` decide, and applies, audit first."""

__version__ = "0.1.0"

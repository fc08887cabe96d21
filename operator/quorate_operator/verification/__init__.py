"""Verification of the log, apart from the operator: one engine for command line, operator and benchmarks."""

from quorate_operator.verification.request import ChainRequest, Report
from quorate_operator.verification.run import verify_database

__all__ = ["ChainRequest", "Report", "verify_database"]

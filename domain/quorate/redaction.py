"""Passwords, tokens and private keys are taken out of whatever is logged, by operator and agent alike."""

import re

_SECRETS = (
    (re.compile(r"(?i)(://[^:/@\s]+:)[^@\s]+@"), r"\1***@"),
    (re.compile(r"(?i)\b(password|passwd|token|secret)(\s*[=:]\s*)('[^']*'|\"[^\"]*\"|\S+)"), r"\1\2***"),
    (re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]+"), r"\1***"),
    (re.compile(r"PRIVATE\+KEY\+\S+"), "***"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL), "***"),
)


def redact(text: str) -> str:
    """The text without passwords, tokens and private keys, whatever message or traceback carried them."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text

"""The keeping of the log: signed, compared with the outside, verified, published, archived, stopped and resumed."""

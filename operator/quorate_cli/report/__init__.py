"""The compliance report: what the log says about a period, as a document and as a page that prints.

`collect` reads entries into the document (schemas/compliance-report.json), `page` writes the document as HTML.
"""

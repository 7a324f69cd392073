"""
Why a caller has a capability: question, facts, document, drawing.

`facts` is what is known, from today's config (`today`) or from the record (`past`).
`answer` makes the document from facts alone; `text` and `graph` draw the document and
look at nothing else, so what is drawn and what a program reads cannot disagree.
"""

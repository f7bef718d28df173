"""One module a chart, or for charts of one kind: from the content of a page to a Vega-Lite spec.

Imports the content, the words and the look of the page; imported by `charts`.
"""

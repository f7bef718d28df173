"""The charts, one file each or one for charts of a kind: from `content` to a Vega-Lite spec.

Imports `content`, `words` and `look` of the page; imported by `charts`, which says their order. To
read, as on the page: `scores`, `differences`, `curves`, `confusion`, `reliability`,
`decision_curve`, `learning_curve`, `embedding_map`.
"""

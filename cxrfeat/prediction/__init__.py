"""A saved model on images: its extractors opened again, its answers, where they come from.

Imports `extraction` and the parts; imported by `commands`. To read: `reopened_extractor`,
`picture_extractor` (radiographs in memory), `embedded` (the embeddings that a model takes),
`called_labels`, `result`, `prediction_file`; then for maps of evidence `evidence_maps`,
`explanation_result`, `explanation_files`.
"""

"""What a backbone is: which networks there are, how they are built, cut off and pooled.

Imports nothing else of `features` but its description; imported by all of it. To read: `backbones`
(the list; `torchvision_catalogue` knows torchvision's, `embedding_dimensions` their sizes),
`architecture` (built), `truncation` (cut off at the layer that is pooled), `pooling` (maps become
vectors), `receptive_field` (where in the picture a cell of a map lies), `disk_cache` (kept ready).
"""

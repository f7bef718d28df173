"""What a backbone is: which networks there are, how they are built, cut off and pooled.

Imports nothing else of `features` but its description; imported by all of it. To read: `backbones`
(the list; `torchvision_catalogue` knows torchvision's, `embedding_dimensions` their sizes),
`families` (those from elsewhere, each a `family`: `xrv`, `timm_networks` with `dinov2`, `own`),
`architecture` (built), `cutting` (up to what is pooled: traced by `truncation`, or whole by
`enclosing`), `pooling` (maps become vectors), `receptive_field` (where in
the picture a cell of a map lies), `disk_cache` (kept ready).
"""

"""From images to rows of a file: what is lacking, who computes it, and who alone writes it.

In the order in which `cxrfeat extract` goes through them: `file_names` names the extractors,
`sources` says where bytes come from, `known_images` what the files know of them already; of the
others `heads` looks at the first bytes, and `declared_columns` and `bit_depth` at the headers that
ask for it; `settling` does so for all images or for one of the `shards` of a `shard_plan`,
`changed_images` finds what is another image now and keeps its hashes in a `hash_journal`, `plan`
lists what is lacking, a `job` is what to compute and an engine who computes it, the
`local_engine`, which reads by `reading_ahead` or, for accelerators, `reading_processes`, which
send pictures through a `shared_room` into a `batch_memory`, and not again what is in a
`picture_cache` (nor decodes what it decided by: `largest_samples`), or the `ray_engine` on several
machines, which get images by the `ray_supply`; `drain` writes, `failures`, the `result` and
`shard_files` are what is told.

Imports the parts; imported by `commands`, `prediction` and `reporting`.
"""

"""Work on several machines, or several GPUs of one, by Ray: connecting, and workers that may die.

Knows nothing of what is computed. Imports plain data alone; imported by what has work to give away.
To read: `session` (connects to a cluster, or starts a local one), `shares` (how much of a machine a
worker gets), `batches` (what becomes of work whose worker died), `pool` (the workers),
`parcels` (arguments with large arrays).
"""

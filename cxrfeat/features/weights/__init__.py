"""The weights of a backbone: chosen, found, downloaded, checked, and put into the network.

Imports `network`; imported by `runtimes` and what opens extractors. To read: `choice` (what
``--weights`` means), `sidecar` (what says that a file is the right one), `download`, `find` (where
the file is), `load` (into the network), `pretraining` (what weights were trained on); then what
``cxrfeat weights`` and ``doctor`` ask for: `files`,
`availability`, and `convert`, which has `pickled` run in a process of its own.
"""

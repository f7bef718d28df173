"""The weights of a backbone: found, downloaded, checked, and put into the network.

Imports `network`; imported by `runtimes` and what opens extractors.
"""

"""REFORMS, recommendations for machine-learning-based science: the three items on leakage.

Kapoor S, Cantrell EM, Peng K, et al. Science Advances 2024;10(18):eadk3452,
doi:10.1126/sciadv.adk3452. The section on data leakage is the sixth of eight; topics in words of
our own. What an audit found stands here where the run was audited.
"""

from __future__ import annotations

from cxrfeat.results import checklist_parts as says
from cxrfeat.results.checklist_rules import Part, Rule, partly

REFORMS: tuple[Rule, ...] = (
    partly("6a", "nothing before the test uses test images",
           says.FOLDS, says.FOLD_SIZES,
           "scaling, tuning, calibration and thresholds see the training images of a fold alone",
           says.FLATTERED, says.WEIGHTS_SEEN),
    partly("6b", "dependencies and duplicates between training and test images",
           says.FOLDS, Part("patients: {results: patients|not known}"), *says.ACROSS, says.COPIES),
    partly("6c", "inputs that are legitimate for the question",
           "one radiograph at a time, nothing else: {h5: /embeddings.dimension} numbers of it",
           says.RANDOM, says.AUDIT, *says.CONFOUNDERS),
)  # fmt: skip

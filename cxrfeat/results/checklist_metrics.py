"""METRICS, the METhodological RadiomICs Score: 30 items in 9 categories.

Kocak B, Akinci D'Antonoli T, Mercaldo N, et al. Insights into Imaging 2024;15:8,
doi:10.1186/s13244-023-01572-w. Numbers as published, topics in words of our own. Each item is a
judgement, yes or no, which stays with the author; the run gives what it can be judged by. Items 8
to 10, 12 and 17 are asked under conditions that frozen features of whole radiographs do not meet.
"""

from __future__ import annotations

from cxrfeat.results import checklist_parts as says
from cxrfeat.results.checklist_rules import Part, Rule, author, automatic, partly

_NO_SEGMENTATION = "not asked: nothing is segmented, crop {h5: spec.image.crop}"

METRICS: tuple[Rule, ...] = (
    partly("1", "a checklist was followed",
           "checklist.csv was filled from the run's {results: format} of version"
           " {results: format_version}"),
    author("2", "eligibility gives a representative population"),
    author("3", "a good reference standard, defined"),
    partly("4", "several centres", "distinct sources {h5: /meta.source}"),
    author("5", "imaging that is used in the clinic"),
    partly("6", "imaging protocol", "distinct views {h5: /meta.view}"),
    author("7", "time between image and reference standard"),
    automatic("8", "segmentation described", _NO_SEGMENTATION),
    automatic("9", "automated segmentation evaluated", _NO_SEGMENTATION),
    automatic("10", "one segmentation per test image", _NO_SEGMENTATION),
    partly("11", "suitable image preprocessing, described", says.READING),
    automatic("12", "standardised software for hand-crafted features",
              "not asked: the features are not hand-crafted but of {h5: spec.backbone}"),
    automatic("13", "parameters of feature extraction", says.EXTRACTOR, says.WEIGHTS),
    partly("14", "features that are not robust removed",
           "none of the {h5: /embeddings.dimension} numbers is removed"),
    partly("15", "redundant features removed",
           "none of the {h5: /embeddings.dimension} numbers is removed; the setting of"
           " {results: winner.head} that limits it is tuned: {results: winner.settings}"),
    partly("16", "dimension that suits the size of the data",
              "{h5: /embeddings.dimension} numbers an image", says.IMAGES, says.FOLD_SIZES),
    automatic("17", "robustness of end-to-end deep learning",
              "not asked: {h5: spec.backbone} is frozen, nothing is learned end to end"),
    automatic("18", "partitions that keep apart what belongs together", says.FOLDS, *says.ACROSS,
              needs=("patients",)),
    partly("19", "confounders", says.RANDOM, *says.PERMUTED, says.FINDINGS, says.AUDIT,
           *says.CONFOUNDERS),
    partly("20", "measures that suit the task", says.METRICS_USED),
    automatic("21", "uncertainty", says.INTERVAL_METHOD, says.ALL_INTERVALS),
    automatic("22", "calibration", says.CALIBRATION, says.SLOPES),
    automatic("23", "one kind of imaging, or proof that more is better",
              "one radiograph at a time, nothing else: {h5: /embeddings.dimension} numbers of it"),
    author("24", "compared with what is not radiomics"),
    automatic("25", "compared with simple models", says.HEADS,
              Part("logistic regression: {results: metric}"
                   " {results: ranking[head=logreg].mean.@metric}", optional=True),
              Part("the floor, shares of the classes: {results: ranking[head=dummy].mean.@metric}",
                   optional=True),
              needs=("ranking[head=logreg].head",)),
    automatic("26", "internal testing",
              Part("{results: folds}", unless="options.test"),
              Part(says.SCORE.text, unless="options.test")),
    partly("27", "external testing", *says.OUTSIDE),
    author("28", "data available"),
    partly("29", "code available", says.CODE),
    partly("30", "model available", says.MODEL_FILE),
)  # fmt: skip

"""TRIPOD+AI: 27 items, 52 with their sub-items.

Collins GS, Moons KGM, Dhiman P, et al. BMJ 2024;385:e078378, doi:10.1136/bmj-2023-078378. Numbers
as published, topics in words of our own.
"""

from __future__ import annotations

from cxrfeat.results import checklist_parts as says
from cxrfeat.results.checklist_rules import Part, Rule, author, automatic, partly

TRIPOD_AI: tuple[Rule, ...] = (
    partly("1", "title: prediction model, population, outcome", says.HEAD, says.CLASSES),
    partly("2", "abstract", says.FOLDS, says.IMAGES, says.SCORE),
    author("3a", "healthcare context, reasons, existing models"),
    author("3b", "target population, purpose and users"),
    author("3c", "known health inequalities"),
    author("4", "objectives, development or evaluation"),
    partly("5a", "sources of the data and why",
           "{h5: /embeddings.rows} images, features made {h5: created}", says.COLUMNS),
    author("5b", "dates of the data"),
    partly("6a", "setting, number of centres", "distinct sources {h5: /meta.source}"),
    partly("6b", "eligibility", says.FOUND, says.NOTES),
    author("6c", "treatments"),
    automatic("7", "data preparation and checks, alike for all groups",
              says.READING, "the same for every image: one fingerprint, {h5: fingerprint}",
              says.FOUND),
    partly("8a", "outcome, its time and reasons", says.CLASSES),
    author("8b", "who judged the outcome"),
    author("8c", "blinding of the outcome"),
    automatic("9a", "choice of predictors",
              "every one of the {h5: /embeddings.dimension} numbers of an embedding, none selected"
              " beforehand"),
    partly("9b", "definition of the predictors, when and how measured",
           says.READING, says.EXTRACTOR, says.WEIGHTS),
    automatic("9c", "who judged the predictors",
              "nobody: they are computed, fingerprint {h5: fingerprint}"),
    partly("10", "sample size and why it suffices", says.IMAGES, says.DETECTABLE),
    partly("11", "missing data", says.FOUND, says.NOTES),
    automatic("12a", "use of the data, partitions", says.FOLDS, says.FOLD_SIZES),
    automatic("12b", "handling of the predictors",
              "standardised with mean and standard deviation of the training images, but for"
              " xgboost, which needs no scale; here {results: winner.head}"),
    partly("12c", "type of model and why, building, tuning, internal validation",
           says.HEADS, says.TUNING, says.CHOICE, says.FOLDS),
    partly("12d", "heterogeneity between clusters", *says.CLUSTERS),
    partly("12e", "measures and plots and why", says.METRICS_USED, says.COMPARISON_METHOD),
    automatic("12f", "model updating", says.NO_UPDATE),
    automatic("12g", "how predictions were calculated",
              "predict_proba of {results: winner.head} on {results: winner.extractor}; every"
              " prediction is in predictions.csv", says.MODEL_FILE),
    automatic("13", "class imbalance",
              says.UNWEIGHTED, says.WEIGHTED, "calibration {results: options.calibrate}",
              says.PER_CLASS),
    author("14", "fairness"),
    partly("15", "output, and thresholds and why", says.OUTPUT,
           "decisions: {results: decisions|labels from 0.5 on, else the most probable class};"
           " sensitivity at a specificity of {results: options.specificity} with thresholds from"
           " the training images"),
    partly("16", "differences between development and evaluation data",
           Part("both are parts of the same images: {results: folds}", unless="options.test"),
           *says.OUTSIDE),
    author("17", "ethical approval and consent"),
    author("18a", "funding"),
    author("18b", "conflicts of interest"),
    author("18c", "protocol"),
    author("18d", "registration"),
    author("18e", "data sharing"),
    partly("18f", "code sharing", says.CODE, says.OPTIONS),
    author("19", "patient and public involvement"),
    partly("20a", "flow of participants", says.FOUND, says.IMAGES, says.PER_CLASS),
    partly("20b", "characteristics of participants", says.IMAGES, says.PER_CLASS, says.COLUMNS),
    partly("20c", "development and evaluation data compared",
           Part("images per class: {h5: /labels}", when="options.test"),
           Part("outside test set in this run: {results: options.test}",
                unless="options.test")),
    partly("21", "participants and outcomes in each analysis", says.IMAGES, says.FOLD_SIZES,
           "images of {results: reports[@report].classes[*].name}:"
           " {results: reports[@report].classes[*].support}"),
    partly("22", "the full model, and access to it", says.MODEL_FILE, says.TRAINED_ON,
           says.HEAD),
    partly("23a", "performance with intervals, also of subgroups",
           says.SCORE, says.UNFLATTERED, says.ALL_INTERVALS, says.DIAGNOSTIC,
           says.CLASS_INTERVALS),
    partly("23b", "heterogeneity of performance between clusters", *says.CLUSTERS),
    automatic("24", "results of model updating", says.NO_UPDATE),
    author("25", "interpretation, with fairness"),
    partly("26", "limitations", says.FINDINGS, says.NOTES),
    partly("27a", "handling of poor or missing input in use",
           "an image that cannot be read is refused with a code, never guessed; here"
           " {h5: /error}"),
    author("27b", "what users have to do and know"),
    author("27c", "next steps"),
)  # fmt: skip

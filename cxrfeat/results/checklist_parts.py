"""What a run can say about itself, a sentence each, for the guidelines that ask for the same."""

from __future__ import annotations

from cxrfeat.results.checklist_rules import Part

IMAGES = Part(
    "{results: images} images of {results: patients|an unknown number of} patients were used"
)
FOUND = Part(
    "of {h5: /embeddings.rows} images found {h5: /status.done} were read, {h5: /status.failed}"
    " failed (codes: {h5: /error}), {h5: /status.pending} are pending"
)
PER_CLASS = Part("images per class: {h5: /labels}")
NOTES = Part("what was taken for what and left out: {results: notes}", optional=True)
COLUMNS = Part("columns that came with the images (distinct values): {h5: /meta}", optional=True)
CLASSES = Part("classes: {results: classes}, as {results: kind} labels")

READING = Part(
    "crop of the radiograph: {h5: spec.image.crop}, polarity {h5: spec.image.polarity}, resized to"
    " {h5: spec.image.size} pixels ({h5: spec.image.resize}), channels"
    " {h5: spec.preprocessing.channels}, mean {h5: spec.preprocessing.mean} and standard deviation"
    " {h5: spec.preprocessing.std} of the weights; versions of reading"
    " {h5: spec.image.version} and preprocessing {h5: spec.preprocessing.version}"
)
EXTRACTOR = Part(
    "frozen {h5: spec.backbone}, layer {h5: spec.layer}, pooling {h5: spec.pooling},"
    " {h5: /embeddings.dimension} numbers an image, precision {h5: spec.precision}, fingerprint"
    " {h5: fingerprint}"
)
WEIGHTS = Part("weights {h5: spec.weights.name}, sha256 of the tensors {h5: spec.weights.sha256}")
HEAD = Part(
    "classifier {results: winner.head} on {results: winner.extractor}, settings"
    " {results: winner.settings}"
)
OUTPUT = Part("a probability for each of {results: classes}")
SOFTWARE = Part("{results: versions}")
ENVIRONMENT = Part("features made with {h5: environment}")

FOLDS = Part(
    "{results: folds}; seed {results: options.seed}, patients kept together by"
    " --groups {results: options.groups}"
)
FOLD_SIZES = Part(
    "images per fold, trained on {results: ranking[@winner].folds[*].train}, tested"
    " {results: ranking[@winner].folds[*].test}; their ids are in splits.json"
)
ACROSS = (
    Part("{results: findings[code=patients-across-folds].message}", optional=True),
    Part("{results: findings[code=duplicates-across-folds].message}", optional=True),
    Part("{results: findings[code=duplicates-across-split].message}", optional=True),
    Part("{results: findings[code=near-duplicates-across-folds].message}", optional=True),
)
TUNING = Part(
    "settings tried in inner folds of the training images, of the first fold with their"
    " {results: metric}: {results: ranking[@winner].folds[0].tuned[0].tried}; calibration"
    " {results: options.calibrate}; seed {results: options.seed}"
)
HEADS = Part("classifiers compared: {results: ranking[*].head}")
CHOICE = Part(
    "the best by {results: metric} that is neither a control with random weights nor the floor:"
    " {results: winner.head} on {results: winner.extractor}, then fitted on"
    " {results: winner.fitted_on|the images that model.skops names}"
)
FLATTERED = Part("{results: findings[code=winner-chosen-on-its-scores].message}", optional=True)

SCORE = Part(
    "{results: metric}, mean over the folds {results: ranking[@winner].mean.@metric} (standard"
    " deviation {results: ranking[@winner].sd.@metric|undefined, one fold}), 95 % interval"
    " {results: ranking[@winner].interval}"
)
UNFLATTERED = Part(
    "with the classifier chosen inside the folds {results: extractors[@chosen].mean}, 95 % interval"
    " {results: extractors[@chosen].interval}"
)
ALL_INTERVALS = Part("95 % intervals of every metric: {results: reports[@report].intervals}")
DIAGNOSTIC = Part(
    "of {results: reports[@report].classes[*].name}: sensitivity"
    " {results: reports[@report].classes[*].recall}, specificity"
    " {results: reports[@report].classes[*].specificity}, PPV"
    " {results: reports[@report].classes[*].precision}, NPV"
    " {results: reports[@report].classes[*].npv}, AUROC"
    " {results: reports[@report].classes[*].auroc}"
)
DIAGNOSTIC_INTERVALS = Part(
    "95 % intervals of the means over classes: sensitivity"
    " {results: reports[@report].intervals.sensitivity}, specificity"
    " {results: reports[@report].intervals.specificity}, PPV"
    " {results: reports[@report].intervals.ppv}, NPV {results: reports[@report].intervals.npv}"
)
CLASS_INTERVALS = Part(
    "95 % intervals of the AUROCs: {results: reports[@report].classes[*].auroc_interval}",
    optional=True,
)
METRICS_USED = Part(
    "{results: metric} decides; means over the folds: {results: ranking[@winner].mean}"
)
INTERVAL_METHOD = Part(
    "95 % intervals {results: intervals}, e.g. {results: ranking[@winner].interval}"
)
COMPARISON_METHOD = Part(
    "extractors by Nadeau and Bengio's corrected resampled t-test (one fold: a t-test over its"
    " patients), Holm over the pairs, practically the same within {results: options.rope}:"
    " p {results: comparisons[*].p_holm|no second extractor}"
)
COMPARISONS = Part("{results: comparisons[*].sentence|no second extractor}")
DETECTABLE = Part(
    "differences of {results: metric} that would have been found with 80 % probability:"
    " {results: comparisons[*].detectable|no second extractor}"
)
PERMUTED = (
    Part("AUROC on labels dealt out anew among patients (chance 0.5): {results: permuted}",
         when="patients"),
    Part("AUROC on labels dealt out anew among patients: cannot be tested, patients are"
         " {results: patients|not known}", unless="patients"),
)  # fmt: skip
RANDOM = Part(
    "{results: metric} of {results: extractors[*].extractor}: {results: extractors[*].mean};"
    " a control with random weights: {results: extractors[*].control}"
)
CALIBRATION = Part(
    "Brier score {results: ranking[@winner].mean.brier}, expected calibration error"
    " {results: ranking[@winner].mean.ece}; observed and predicted shares are in"
    " reports[*].classes[*].reliability of results.json"
)
SLOPES = Part(
    "calibration slope (ideal 1) of {results: reports[@report].classes[*].name}:"
    " {results: reports[@report].classes[*].calibration_slope}; intercept (ideal 0):"
    " {results: reports[@report].classes[*].calibration_intercept}",
    optional=True,
)
UNWEIGHTED = Part("no class is resampled or weighted", unless="winner.settings[0].class_weight")
WEIGHTED = Part(
    "no class is resampled; classes weigh {results: options.class_weight} in the loss of"
    " {results: winner.head}",
    when="winner.settings[0].class_weight",
)
CONFUSION = Part(
    "confusion of {results: reports[@report].classes[*].name}, a row per true class:"
    " {results: reports[@report].confusion|none for labels that exclude nothing}; every out-of-fold"
    " prediction is in predictions.csv"
)
FINDINGS = Part("{results: findings[*].message|no finding}")

OUTSIDE = (
    Part("scored on embeddings that the author gave as outside: {results: options.test}",
         when="options.test"),
    Part("{results: folds}", when="options.test"),
    Part("{results: metric} {results: ranking[@winner].mean.@metric}, 95 % interval"
         " {results: ranking[@winner].interval}", when="options.test"),
    Part("outside test set in this run: {results: options.test}", unless="options.test"),
    Part("left out in turn: {results: options.leave_out}", when="options.leave_out"),
)  # fmt: skip
AUDIT = Part("whether the score comes from the lungs: {audit: headline}", optional=True)
COPIES = Part(
    "duplicates that the audit sought: {audit: checks[*section=duplicates].answer}", optional=True
)
CONFOUNDERS = (
    Part("attributes that the audit asked about: {audit: checks[*section=attributes].answer}",
         optional=True),
    Part("sources: {audit: checks[*section=sources].answer}", optional=True),
)  # fmt: skip
LABEL_ERRORS = Part(
    "labels that the audit doubts: {audit: checks[*section=labels].answer}", optional=True
)
WEIGHTS_SEEN = Part(
    "what the weights were trained on: {audit: checks[*section=pretraining].answer}", optional=True
)

CLUSTERS = (
    Part("each {results: options.leave_out} in turn: {results: ranking[@winner].folds[*].name};"
         " metrics {results: ranking[@winner].folds[*].metrics}", when="options.leave_out"),
    Part("left out in turn in this run: {results: options.leave_out}",
         unless="options.leave_out"),
)  # fmt: skip
MODEL_FILE = Part(
    "model.skops: {model: head} on {model: extractor}, embeddings of {model: dimension} numbers"
    " with fingerprint {model: fingerprint}, classes {model: classes}; cxrfeat loads it without"
    " executing anything"
)
TRAINED_ON = Part(
    "fitted on {model: training.images} images of {model: training.patients|unknown} patients,"
    " per class {model: training.images_per_class}"
)
CODE = Part("cxrfeat, Apache-2.0, and what it was run with: {results: versions}")
OPTIONS = Part("options of the run: {results: options}; its folds are in splits.json")
NO_UPDATE = Part(
    "no model is updated in a run; calibration asked for: {results: options.calibrate}"
)

"""What decodes images here: the packages whose versions may change a pixel."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from PIL import features


def decoders() -> dict[str, str]:
    """Return the versions of everything that decodes, also of what Pillow decodes with.

    Returns
    -------
    dict of str to str
        By package; those for compressed DICOM are left out where they are not installed, because
        such images then fail.
    """
    found = {}
    for package in ("Pillow", "pydicom", "simplejpeg", "pyjpegls", "python-gdcm"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    for name, feature in (("libjpeg-turbo", "libjpeg_turbo"), ("OpenJPEG", "jpg_2000")):
        made_with = features.version(feature)
        if made_with:
            found[name] = made_with
    return found

# cxrfeat on a processor, for machines without network: docs/container.md says how to build and run it.
# The base is named by its exact tag, not by a digest: which digest the registry gives for it was not checked here.
ARG PYTHON_IMAGE=python:3.13.14-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /source
COPY constraints.txt packaging/tools.txt ./
RUN pip install -c constraints.txt -r tools.txt && uv venv /opt/cxrfeat

# What the package needs changes less often than the package: a layer of its own. torch is the build for
# processors, without gigabytes of CUDA; NCCL, which xgboost brings, is for several GPUs only.
COPY pyproject.toml ./
RUN uv pip install --python /opt/cxrfeat --torch-backend cpu -c constraints.txt \
        -r pyproject.toml --extra tiny --extra report --extra cpu --extra dicom --extra parquet \
    && uv pip uninstall --python /opt/cxrfeat nvidia-nccl-cu12

COPY . ./
RUN python -m hatchling build -t wheel -d /wheel \
    && uv pip install --python /opt/cxrfeat --no-deps /wheel/*.whl \
    && /opt/cxrfeat/bin/python -m compileall -q /opt/cxrfeat/lib

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="cxrfeat" \
      org.opencontainers.image.description="Frozen backbones over chest radiographs, for research only" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --create-home --uid 1000 cxrfeat \
    && install -d -o cxrfeat -g cxrfeat -m 0777 /cache /study
COPY --from=build /opt/cxrfeat /opt/cxrfeat
# Nothing is downloaded when it runs: weights are mounted, and the libraries are told not to ask.
ENV PATH=/opt/cxrfeat/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CXRFEAT_WEIGHTS=/weights \
    CXRFEAT_CACHE=/cache \
    HF_HUB_OFFLINE=1
USER 1000:1000
WORKDIR /study
ENTRYPOINT ["cxrfeat"]
CMD ["--help"]

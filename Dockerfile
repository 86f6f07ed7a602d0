# The CPU demo: real verl, a tiny policy, no GPU. Written and linted where there is no Docker: nobody has built it yet.
#
#   docker build -t leanthink .
#   docker run --rm --shm-size=2g -v "$PWD/runs:/workspace/runs" leanthink train trle --profile cpu --steps 20
#   docker run --rm -v "$PWD/runs:/workspace/runs" leanthink report runs/trle --out runs/report
#
# For GPUs see Dockerfile.gpu.
FROM python:3.11-slim-bookworm

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1
WORKDIR /leanthink
COPY . .
# torch first, and built for CPUs: the package index's own brings several gigabytes of CUDA's libraries.
RUN pip install --no-cache-dir 'torch>=2.7,<2.14' --index-url https://download.pytorch.org/whl/cpu \
    && pip install --no-cache-dir --constraint constraints.txt '.[verl,watch]' \
    && useradd --create-home --uid 1000 trainer \
    && mkdir -p /workspace/runs \
    && chown -R trainer:trainer /workspace
USER 1000
WORKDIR /workspace
ENTRYPOINT ["leanthink"]
CMD ["--help"]

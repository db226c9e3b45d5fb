# One image for the book, the lab and grading; CONTRIBUTING.md says how to run it.
FROM python:3.13-slim
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends bubblewrap \
    && rm -rf /var/lib/apt/lists/* && useradd --create-home course
WORKDIR /course
COPY pyproject.toml README.md LICENSE LICENSE-TEXT ./
COPY autograder autograder
COPY chapter4 chapter4
# PyTorch's own index has a CPU build without the GPU libraries of several GB: name it here.
ARG PIP_EXTRA_INDEX_URL
RUN python -m pip install --no-cache-dir --editable ".[book,lab]"
USER 1000
CMD ["python", "-m", "jupyter", "lab", "--ip=0.0.0.0", "--no-browser"]

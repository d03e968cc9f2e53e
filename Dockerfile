# matlit in a container: the command line by default, the app with `chat`.
#   docker build -t matlit .
#   docker run --rm -v ~/papers:/papers:ro -v matlit:/library matlit ingest /papers
#   docker run --rm -v matlit:/library -e MATLIT_PASSWORD -p 127.0.0.1:8501:8501 matlit chat --host 0.0.0.0 --port 8501 --no-browser
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends tesseract-ocr tesseract-ocr-jpn \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /matlit
COPY pyproject.toml constraints.txt README.md ./
COPY ingest ingest
COPY finetune finetune
COPY assistant assistant
COPY ui ui
# Where a package index with CPU builds of torch is at hand, name it: --build-arg TORCH_INDEX=URL makes a far smaller image.
ARG TORCH_INDEX=""
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -c constraints.txt torch \
    && pip install --no-cache-dir -c constraints.txt '.[ocr,models,materials]'

RUN useradd --create-home matlit && mkdir /library && chown matlit /library
USER matlit
ENV MATLIT_LIBRARY=/library OMP_WAIT_POLICY=passive
VOLUME /library
EXPOSE 8501
ENTRYPOINT ["matlit"]
CMD ["--help"]

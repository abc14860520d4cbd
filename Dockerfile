# mosaic-fl for a server, a site, or a simulation: `docker build -t mosaic-fl .`, then `docker run --rm mosaic-fl --version`.
# Built in one stage and copied into another, so that the image has no compiler, no pip cache and no source tree.
FROM python:3.11-slim AS build
# The extras of pyproject.toml; wheels of torch for the processor alone, which are a tenth of those for NVIDIA cards.
ARG EXTRAS=flower,keys
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m venv /opt/mosaic
COPY . /src
RUN /opt/mosaic/bin/pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" -c /src/constraints.txt "/src[$EXTRAS]"

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 mosaic && install -d -o mosaic -g mosaic -m 0700 /state
COPY --from=build /opt/mosaic /opt/mosaic
ENV PATH=/opt/mosaic/bin:$PATH PYTHONUNBUFFERED=1
USER 1000:1000
WORKDIR /state
VOLUME /state
ENTRYPOINT ["mosaic"]
CMD ["--help"]

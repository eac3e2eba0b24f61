# syntax=docker/dockerfile:1
# The archive with its viewer as one image: its own PostgreSQL by default, any other by DICOMWEB_ARCHIVE_DATABASE_URL.
# What changes seldom comes first, so that a change of the sources builds little. To hold the base image to a digest or
# take it from a mirror: --build-arg BASE=registry.example.org/python@sha256:...
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS dependencies
WORKDIR /build
COPY requirements.lock requirements-parquet.lock ./
RUN python -m venv --without-pip /opt/archive \
    && pip --python /opt/archive/bin/python install --no-cache-dir --require-hashes \
        -r requirements.lock -r requirements-parquet.lock

FROM dependencies AS program
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY migrations migrations
RUN pip --python /opt/archive/bin/python wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel .

FROM ${BASE} AS npm
WORKDIR /build
COPY requirements-viewer.lock ./
RUN python -m venv --without-pip /opt/npm \
    && pip --python /opt/npm/bin/python install --no-cache-dir --require-hashes -r requirements-viewer.lock

# The viewer's package is proved by the digest that the program knows. npm keeps it between builds.
FROM dependencies AS viewer
COPY --from=npm /opt/npm /opt/npm
COPY --from=program /wheel /wheel
RUN pip --python /opt/archive/bin/python install --no-cache-dir --no-deps --no-index /wheel/*.whl
RUN --mount=type=cache,target=/root/.npm \
    PATH=/opt/npm/bin:$PATH /opt/archive/bin/dicomweb-archive viewer install --to /viewer

FROM ${BASE}
LABEL org.opencontainers.image.title="dicomweb-archive" \
      org.opencontainers.image.description="DICOMweb archive server with its viewer" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0 AND MIT"
# Group 0 may write the data folder: platforms that choose the user id themselves run containers in that group.
RUN useradd --system --uid 10001 --gid 0 --home-dir /data --no-create-home archive \
    && install --directory --owner=10001 --group=0 --mode=0770 /data
COPY --from=dependencies /opt/archive /opt/archive
COPY --from=viewer /viewer /opt/archive/share/dicomweb-archive/viewer
RUN --mount=type=bind,from=program,source=/wheel,target=/wheel \
    pip --python /opt/archive/bin/python install --no-cache-dir --no-deps --no-index /wheel/*.whl
ENV PATH=/opt/archive/bin:$PATH \
    DICOMWEB_ARCHIVE_DATA_DIR=/data \
    DICOMWEB_ARCHIVE_HOST=0.0.0.0 \
    PYTHONUNBUFFERED=1
USER 10001:0
WORKDIR /data
VOLUME /data
EXPOSE 8000
# By hand rather than with urllib, which would ask a proxy of the environment.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import http.client as h, os, sys; c = h.HTTPConnection('127.0.0.1', int(os.environ.get('DICOMWEB_ARCHIVE_PORT', '8000')), timeout=4); c.request('GET', '/health/ready'); sys.exit(c.getresponse().status != 200)"]
STOPSIGNAL SIGTERM
# Listening beyond loopback needs a key: run with DICOMWEB_ARCHIVE_API_KEY, or DICOMWEB_ARCHIVE_SECRETS_DIR.
ENTRYPOINT ["dicomweb-archive"]
CMD ["serve"]

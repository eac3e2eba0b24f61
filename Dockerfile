# syntax=docker/dockerfile:1
# The archive as one image: its own PostgreSQL by default, any other by DICOMWEB_ARCHIVE_DATABASE_URL.
FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN python -m venv /opt/archive && /opt/archive/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY src src
COPY migrations migrations
RUN /opt/archive/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /data --create-home archive
COPY --from=build /opt/archive /opt/archive
ENV PATH=/opt/archive/bin:$PATH \
    DICOMWEB_ARCHIVE_DATA_DIR=/data \
    DICOMWEB_ARCHIVE_HOST=0.0.0.0 \
    PYTHONUNBUFFERED=1
USER archive
WORKDIR /data
VOLUME /data
EXPOSE 8000
# Listening beyond loopback needs a key: run with -e DICOMWEB_ARCHIVE_API_KEY=...
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["dicomweb-archive"]
CMD ["serve"]

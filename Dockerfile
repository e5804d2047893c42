# One image for everything: `docker run … init` once, then `docker run …` serves, and `docker run … worker` delivers alone. Who gives `serve`
# options of its own says `serve --host 0.0.0.0 …`: without it nobody outside of the container reaches it. Its data: a database, or /data.
FROM python:3.13-slim

WORKDIR /srv/doorlist
COPY image.lock pyproject.toml LICENSE ./
RUN pip install --no-cache-dir --require-hashes -r image.lock

COPY app app
COPY connectors connectors
COPY migrations migrations
COPY wsgi.py ./
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && useradd --system --home-dir /data --create-home doorlist

USER doorlist
ENV DOORLIST_HOME=/data PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8484
ENTRYPOINT ["doorlist"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8484"]

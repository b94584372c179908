# Two images from one file, both without a shell's worth of anything they do not need at run time:
#
#     docker build --target diagnose -t diagnose .
#     docker build --target shop -t diagnose-shop .        the sample system of docker-compose.yml
#
# Both run as user 10001 and need no writable root; what diagnose writes lies in /var/lib/diagnose,
# /var/lib/diagnose-reports and /tmp.

FROM python:3.13.7-slim-bookworm AS python-packages
WORKDIR /src
# Hashes are checked for every package, the build backend included, which is why it builds without isolation.
COPY requirements.lock ./
RUN python -m venv /opt/diagnose \
    && /opt/diagnose/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY diagnose ./diagnose
RUN /opt/diagnose/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .

FROM golang:1.26.8-bookworm AS shop-binary
WORKDIR /src
COPY target/go.mod target/go.sum ./
RUN go mod download
COPY target ./
# The experiment adds /debug/pprof/goroutineleak. Symbols stay: this is the program that gets profiled.
RUN CGO_ENABLED=0 GOEXPERIMENT=goroutineleakprofile go build -trimpath -buildvcs=false -mod=readonly -o /shop .

FROM scratch AS shop
COPY --from=shop-binary /shop /shop
USER 10001:10001
EXPOSE 8080 8081
ENTRYPOINT ["/shop"]

# The last stage is what `docker build .` makes.
FROM python:3.13.7-slim-bookworm AS diagnose
COPY --from=python-packages /opt/diagnose /opt/diagnose
# A volume that is empty takes the owner of the folder it is mounted on.
RUN install -d -o 10001 -g 10001 -m 700 /var/lib/diagnose /var/lib/diagnose-reports
ENV PATH=/opt/diagnose/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/diagnose
EXPOSE 9095
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as http; http.urlopen('http://127.0.0.1:9095/readyz', timeout=4)"]
ENTRYPOINT ["diagnose"]
CMD ["serve", "--config", "/etc/diagnose/diagnose.yaml"]

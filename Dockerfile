# The mock server as an image: one static binary and nothing else.
#
#   docker build -t presencectl .
#   docker run --rm -p 127.0.0.1:8800:8800 -e PRESENCECTL_MOCK_SECRET=test-secret presencectl
#
# docs/packaging.md lists the variables.

FROM rust:1-alpine AS build
# Alpine keeps no old versions of its packages, so a pinned one cannot be installed for long.
# hadolint ignore=DL3018
RUN apk add --no-cache ca-certificates gcc musl-dev
WORKDIR /src
COPY . .
# The commit that --version names: --build-arg PRESENCECTL_COMMIT="$(git rev-parse HEAD)"
ARG PRESENCECTL_COMMIT=
# A smaller program instead of the fastest one: the image is downloaded often, and tests do not need the speed.
ENV CARGO_PROFILE_DIST_OPT_LEVEL=s
# Alpine's own target is musl, which links statically.
RUN cargo build --profile dist --locked

FROM scratch
COPY --from=build /src/target/dist/presencectl /presencectl
# For commands that call the real service.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# The user and group that images without a user list call nobody.
USER 65534:65534
# The address at which the health check and `mock` commands inside the container find the server.
ENV PRESENCECTL_BASE_URL=http://127.0.0.1:8800
EXPOSE 8800
HEALTHCHECK --interval=2s --timeout=2s --start-period=5s --retries=3 CMD ["/presencectl", "--quiet", "mock", "health"]
ENTRYPOINT ["/presencectl"]
CMD ["mock", "start", "--host", "0.0.0.0", "--port", "8800"]

# Needs BuildKit, the builder of every current Docker.
FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
# The registry and target/ stay in the builder's cache, so that a change of ours compiles ours and no dependency again. Cargo compares
# times of files, and those of a checkout may be older than what the cache holds: `touch` makes it look at all of ours.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    find allocator build.rs openapi.json proto src web -exec touch {} + \
    && cargo build --release --locked --bin exposia-notifications \
    && cp target/release/exposia-notifications /exposia-notifications \
    && mkdir /empty

# distroless/cc rather than debian-slim: the binary needs glibc and nothing else, is its own health check, and without a shell
# and a package manager there is less to patch. The same Debian release as above, for the same glibc.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /exposia-notifications /usr/local/bin/exposia-notifications
# A volume that is mounted here for the first time takes over this owner.
COPY --from=build --chown=65532:65532 /empty /data
ENV DATA_DIR=/data
VOLUME /data
# A number, so that an orchestrator can tell that it is not root.
USER 65532:65532
WORKDIR /data
EXPOSE 9000 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/usr/local/bin/exposia-notifications", "health"]
ENTRYPOINT ["/usr/local/bin/exposia-notifications"]

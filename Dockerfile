# A static binary in an empty, non-root image.
FROM rust:1.95-bookworm AS build
WORKDIR /src
# The list of dependencies goes into the binary, where scanners of images find it.
RUN cargo install --quiet --locked --version 0.7.7 cargo-auditable
COPY Cargo.toml Cargo.lock build.rs ./
COPY link link
COPY src src
COPY config config
COPY benches benches
# A target named aloud keeps the flag away from build scripts, which cannot be static.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    target=$(rustc -vV | sed -n 's/host: //p') && \
    RUSTFLAGS="-C target-feature=+crt-static" cargo auditable build --locked --release --target "$target" --bin nats-dingtalk && \
    cp "target/$target/release/nats-dingtalk" /nats-dingtalk
RUN mkdir -p /data && chown 65532:65532 /data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /nats-dingtalk /nats-dingtalk
COPY --from=build --chown=65532:65532 /data /var/lib/nats-dingtalk
USER 65532:65532
ENV XDG_DATA_HOME=/var/lib
VOLUME /var/lib/nats-dingtalk
EXPOSE 8680
ENTRYPOINT ["/nats-dingtalk"]
CMD ["run"]

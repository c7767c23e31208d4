# A static binary in an empty, non-root image.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev make perl ca-certificates
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY config config
COPY benches benches
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin nats-dingtalk && cp target/release/nats-dingtalk /nats-dingtalk
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

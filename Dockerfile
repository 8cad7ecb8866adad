# One static program and its models on an empty base: no shell, no package manager, nothing to patch but maas itself.
#
# glibc is linked in rather than musl: its allocator keeps large buffers between batches instead of giving each one back
# to the kernel, and the program is the same one that the tests ran. What static glibc cannot do (load NSS or iconv
# modules) the server does not need: it resolves no names.

FROM rust:1.95-bookworm AS build
ARG MAAS_REVISION=unknown
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY src src
# With the target named, crt-static holds for the program and not for build scripts and macros.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
 && RUSTFLAGS="-C target-feature=+crt-static" MAAS_REVISION="$MAAS_REVISION" \
    cargo build --release --locked --bin maas --target "$target" \
 && install -D "target/$target/release/maas" /image/maas \
 && install -d /image/data

FROM scratch
COPY --from=build /image/maas /maas
COPY --from=build --chown=65532:65532 /image/data /data
COPY models /models
USER 65532:65532
# The addresses are ones that others can reach, so the server asks for keys: mount a file of them and name it in MAAS_KEYS.
# The admin listener stays on the container's own loopback.
ENV MAAS_HTTP=0.0.0.0:8080 \
    MAAS_GRPC=0.0.0.0:9000 \
    MAAS_STORE=/models \
    MAAS_STATE=/data \
    MAAS_LOG_FORMAT=json
VOLUME /data
EXPOSE 8080 9000
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["/maas", "health"]
ENTRYPOINT ["/maas"]
CMD ["serve"]

# SeaweedFS as an S3-compatible store that never runs as root: its own image starts as root to own its volume.

FROM chrislusf/seaweedfs:4.48
LABEL org.opencontainers.image.title="mas-ray-object-store" \
      org.opencontainers.image.licenses="Apache-2.0"
# A new named volume takes over the owner of the folder that it is mounted on.
RUN mkdir -p /store && chown 10001:10001 /store
WORKDIR /store
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 \
    CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8333/status"]
ENTRYPOINT ["/usr/bin/weed"]
CMD ["server", "-dir=/store", "-ip.bind=0.0.0.0", "-volume.max=0", "-master.volumeSizeLimitMB=1024", "-s3", \
     "-s3.port=8333", "-s3.config=/run/secrets/s3_identities"]

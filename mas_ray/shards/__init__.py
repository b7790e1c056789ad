"""The dataset on disk: schema, codecs, manifest, shard files; no torch."""

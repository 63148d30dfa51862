#!/bin/sh
# Writes src/graph/generated/onnx_pb.ts from the ONNX schema, as published inside the `onnx` wheel on PyPI.
# Run it by hand to move to a newer schema; the result is committed. Versions are pinned, so that the same bytes come out.
# Needs sh, python3 with pip, node with npx; leaves nothing behind.
set -eu

ONNX=1.23.2
BUF=1.75.0
PROTOC_GEN_ES=2.17.0

out=$(cd "$(dirname "$0")/.." && pwd)/src/graph/generated
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

# The wheel is only unzipped; --platform takes the same one on every machine.
python3 -m pip download --quiet --no-deps --only-binary :all: --platform manylinux_2_28_x86_64 --python-version 3.11 --dest . "onnx==$ONNX"
mkdir proto
python3 -c 'import sys, zipfile; open("proto/onnx.proto", "wb").write(zipfile.ZipFile(sys.argv[1]).read("onnx/onnx-ml.proto"))' onnx-*.whl

cat > buf.gen.yaml <<EOF
version: v2
plugins:
  - local: protoc-gen-es
    out: $out
    opt: [target=ts, import_extension=js]
EOF
npm init --yes >/dev/null
npm install --silent --no-save --no-audit --no-fund "@bufbuild/buf@$BUF" "@bufbuild/protoc-gen-es@$PROTOC_GEN_ES"
# Without source info the schema's long comments stay out of the generated file.
npx --no-install buf build proto --exclude-source-info --output onnx.binpb
PATH="$tmp/node_modules/.bin:$PATH" npx --no-install buf generate onnx.binpb

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# oci.sh: images for tests, as OCI layouts, made of tars.
#
#	oci_begin DIR
#	oci_layer DIR TAR [gzip|zstd]	once for each, the lowest first
#	oci_image DIR TAG [CONFIG]	CONFIG: members of "config", '"User":"1"'
#
# The layers of a second image begin with oci_begin as well: what DIR has stays.

oci_sha() {
	sha256sum "$1" | cut -c 1-64
}

# oci_blob DIR FILE: the file becomes a blob; prints its digest.
oci_blob() {
	oci_hex=$(oci_sha "$2")
	mv "$2" "$1/blobs/sha256/$oci_hex"
	echo "$oci_hex"
}

oci_begin() {
	mkdir -p "$1/blobs/sha256"
	echo '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
	rm -f "$1/.layers"
	: >"$1/.layers"
	[ -f "$1/.index" ] || : >"$1/.index"
}

oci_layer() {
	oci_diff=$(oci_sha "$2")
	oci_type=application/vnd.oci.image.layer.v1.tar
	case ${3-} in
	gzip)
		gzip -nc1 "$2" >"$1/new"
		oci_type=$oci_type+gzip ;;
	zstd)
		zstd -qc1 "$2" >"$1/new"
		oci_type=$oci_type+zstd ;;
	*) cp "$2" "$1/new" ;;
	esac
	oci_size=$(stat -c %s "$1/new")
	echo "$(oci_blob "$1" "$1/new") $oci_size $oci_diff $oci_type" \
		>>"$1/.layers"
}

# oci_descriptor TYPE DIGEST SIZE
oci_descriptor() {
	printf '{"mediaType":"%s","digest":"sha256:%s","size":%s' "$1" "$2" \
		"$3"
}

oci_image() {
	oci_diffs=$(cut -d ' ' -f 3 "$1/.layers" |
		sed 's/.*/"sha256:&"/' | paste -sd , -)
	{
		printf '{"architecture":"amd64","os":"linux","created":"%s",' \
			2026-01-02T03:04:05Z
		printf '"config":{%s},"rootfs":{"type":"layers",' "${3-}"
		printf '"diff_ids":[%s]}}' "$oci_diffs"
	} >"$1/new"
	oci_size=$(stat -c %s "$1/new")
	oci_config=$(oci_blob "$1" "$1/new")
	{
		printf '{"schemaVersion":2,"mediaType":"%s","config":' \
			application/vnd.oci.image.manifest.v1+json
		oci_descriptor application/vnd.oci.image.config.v1+json \
			"$oci_config" "$oci_size"
		printf '},"layers":['
		oci_comma=
		while read -r d s _ t; do
			printf %s "$oci_comma"
			oci_descriptor "$t" "$d" "$s"
			printf '}'
			oci_comma=,
		done <"$1/.layers"
		printf ']}'
	} >"$1/new"
	oci_size=$(stat -c %s "$1/new")
	oci_manifest=$(oci_blob "$1" "$1/new")
	{
		oci_descriptor application/vnd.oci.image.manifest.v1+json \
			"$oci_manifest" "$oci_size"
		printf ',"annotations":{"org.opencontainers.image.ref.name":"%s"}}\n' \
			"$2"
	} >>"$1/.index"
	printf '{"schemaVersion":2,"manifests":[%s]}' \
		"$(paste -sd , "$1/.index")" >"$1/index.json"
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the JSON of images says: documents as tools write them, and others. */
#include "rootfs/oci.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/base/err.h"
#include "runner/base/mem.h"

#define H16   "0123456789abcdef"
#define HA    "aaaaaaaaaaaaaaaa" H16 H16 H16
#define HB    "bbbbbbbbbbbbbbbb" H16 H16 H16
#define HC    "cccccccccccccccc" H16 H16 H16
#define OCI   "application/vnd.oci.image."
#define DOCK  "application/vnd.docker."

/* A descriptor of kind @t; @rest begins with a comma or is empty. */
#define DESC(t, h, rest) \
	"{\"mediaType\":\"" t "\",\"digest\":\"sha256:" h \
	"\",\"size\":7" rest "}"
#define MANI(h, rest) DESC(OCI "manifest.v1+json", h, rest)
#define NAME(n) \
	",\"annotations\":{\"org.opencontainers.image.ref.name\":\"" n "\"}"
#define FOR(a) ",\"platform\":{\"architecture\":\"" a "\",\"os\":\"linux\"}"
#define INDEX(list) "{\"schemaVersion\":2,\"manifests\":[" list "]}"
#define CONF	    DESC(OCI "config.v1+json", HC, "")
#define TAR(h)	    DESC(OCI "layer.v1.tar+gzip", h, "")
#define MANIFEST(config, layers) \
	"{\"schemaVersion\":2,\"config\":" config ",\"layers\":[" layers "]}"

static struct err err;

/* --- index ------------------------------------------------------------ */

static int index_of(struct oci_choice *c, const char *text, const char *want)
{
	err = (struct err){ 0 };
	return oci_read_index(c, text, strlen(text), want, &err);
}

Test(index, of_one_image_names_it)
{
	struct oci_choice c;

	cr_assert_eq(index_of(&c, INDEX(MANI(HA, NAME("a:1"))), NULL), 0, "%s",
		     err.msg);
	cr_expect_eq(c.kind, OCI_MANIFEST);
	cr_expect_str_eq(c.blob.digest, HA);
	cr_expect_eq(c.blob.size, 7);
	cr_expect_str_eq(c.name, "a:1");
	cr_assert_eq(index_of(&c, INDEX(MANI(HA, "")), NULL), 0);
	cr_expect_str_eq(c.name, "");
}

Test(index, leads_to_another)
{
	struct oci_choice c;

	cr_assert_eq(index_of(&c, INDEX(DESC(OCI "index.v1+json", HA, "")),
			      NULL), 0);
	cr_expect_eq(c.kind, OCI_INDEX);
	cr_assert_eq(index_of(&c, INDEX(DESC(DOCK "distribution.manifest.list"
						  ".v2+json", HB, "")), NULL),
		     0);
	cr_expect_eq(c.kind, OCI_INDEX);
}

Test(index, of_many_machines_has_ours)
{
	struct oci_choice c;

	cr_assert_eq(index_of(&c, INDEX(MANI(HA, FOR("arm64")) ","
					MANI(HB, FOR("amd64")) ","
					MANI(HC, FOR("s390x"))), NULL), 0);
	cr_expect_str_eq(c.blob.digest, HB);
	/* What asks for more than every CPU has comes last. */
	cr_assert_eq(index_of(&c, INDEX(
		MANI(HA, ",\"platform\":{\"architecture\":\"amd64\",\"os\":"
			 "\"linux\",\"variant\":\"v3\"}") ","
		MANI(HB, FOR("amd64"))), NULL), 0);
	cr_expect_str_eq(c.blob.digest, HB);
	/* What says nothing comes after that, too. */
	cr_assert_eq(index_of(&c, INDEX(MANI(HA, "") "," MANI(HB, FOR("amd64"))
					"," MANI(HC, "")), NULL), 0);
	cr_expect_str_eq(c.blob.digest, HB);
	cr_assert_eq(index_of(&c, INDEX(MANI(HA, FOR("amd64")) ","
					MANI(HB, FOR("amd64") NAME("b"))),
			      NULL), -EINVAL);
	cr_assert_eq(index_of(&c, INDEX(MANI(HA, FOR("arm64"))), NULL),
		     -ENOTSUP);
	cr_expect(strstr(err.msg, "linux/amd64"));
	cr_assert_eq(index_of(&c, INDEX(""), NULL), -ENOTSUP);
}

Test(index, attestations_and_other_things_are_no_images)
{
	struct oci_choice c;

	cr_assert_eq(index_of(&c, INDEX(
		MANI(HA, ",\"platform\":{\"architecture\":\"unknown\",\"os\":"
			 "\"unknown\"},\"annotations\":{\"vnd.docker.reference"
			 ".type\":\"attestation-manifest\"}") ","
		MANI(HB, ",\"annotations\":{\"vnd.docker.reference.type\":"
			 "\"attestation-manifest\"}") ","
		DESC("application/x-sig", HA, "") ","
		MANI(HC, "")), NULL), 0, "%s", err.msg);
	cr_expect_str_eq(c.blob.digest, HC);
}

Test(index, of_several_images_wants_a_choice)
{
	const char *two = INDEX(MANI(HA, NAME("a:1")) "," MANI(HB, NAME("b")));
	struct oci_choice c;

	cr_assert_eq(index_of(&c, two, NULL), -EINVAL);
	cr_expect(strstr(err.msg, "a:1, b"), "%s", err.msg);
	cr_assert_eq(index_of(&c, two, "b"), 0);
	cr_expect_str_eq(c.blob.digest, HB);
	cr_assert_eq(index_of(&c, two, "c"), -ENOENT);
	cr_expect(strstr(err.msg, "a:1, b"), "%s", err.msg);
	/* Two names of one are one. */
	cr_assert_eq(index_of(&c, INDEX(MANI(HA, NAME("a")) ","
					MANI(HA, NAME("b"))), NULL), 0);
	/* Without names the digests are told. */
	cr_assert_eq(index_of(&c, INDEX(MANI(HA, "") "," MANI(HB, "")), NULL),
		     -EINVAL);
	cr_expect(strstr(err.msg, "aaaaaaaa"), "%s", err.msg);
	/* Nor is one of two by the same name chosen by chance. */
	cr_assert_eq(index_of(&c, INDEX(MANI(HA, NAME("a")) ","
					MANI(HB, NAME("a"))), "a"), -EINVAL);
}

Test(index, words_of_errors_do_not_steer_terminals)
{
	struct oci_choice c;

	cr_assert_eq(index_of(&c, INDEX(MANI(HA, NAME("\\u001b[2J")) ","
					MANI(HB, NAME("b"))), NULL), -EBADMSG);
	cr_expect(!strchr(err.msg, '\033'));
	cr_assert_eq(index_of(&c, INDEX(MANI(HA, NAME("\xc2\x9b" "2J"))), NULL),
		     -EBADMSG);
	cr_assert_eq(index_of(&c, INDEX(MANI(HA, NAME("a"))), "x\033y"),
		     -ENOENT);
	cr_expect(strstr(err.msg, "x?y"), "%s", err.msg);
}

static void refused(const char *text)
{
	struct oci_choice c;

	cr_expect_eq(index_of(&c, text, NULL), -EBADMSG, "%s", text);
	cr_expect(*err.msg);
}

Test(index, is_typed_strictly)
{
	refused("");
	refused("[]");
	refused("null");
	refused("{");
	refused("{\"manifests\":[]}");
	refused("{\"schemaVersion\":\"2\",\"manifests\":[]}");
	refused("{\"schemaVersion\":2,\"manifests\":{}}");
	refused("{\"schemaVersion\":2,\"schemaVersion\":2,\"manifests\":[]}");
	refused(INDEX("7"));
	refused(INDEX("{}"));
	refused(INDEX("null"));
	refused(INDEX(MANI("zz", "")));
	refused(INDEX(MANI(HA "0", "")));
	refused(INDEX("{\"mediaType\":1,\"digest\":\"sha256:" HA
		      "\",\"size\":1}"));
	refused(INDEX("{\"digest\":\"sha256:" HA "\",\"size\":-1}"));
	refused(INDEX("{\"digest\":\"sha256:" HA "\",\"size\":1.5}"));
	refused(INDEX("{\"digest\":\"sha256:" HA "\"}"));
	refused(INDEX("{\"digest\":\"SHA256:" HA "\",\"size\":1}"));
	refused(INDEX("{\"digest\":\"sha512:" HA "\",\"size\":1}"));
	refused(INDEX(MANI(HA, ",\"platform\":[]")));
	refused(INDEX(MANI(HA, ",\"annotations\":{\"org.opencontainers.image."
			       "ref.name\":[]}")));
	refused(INDEX(MANI(HA, NAME("a\\u0000b"))));
}

Test(index, of_a_version_unknown_is_not_used)
{
	struct oci_choice c;

	cr_expect_eq(index_of(&c, "{\"schemaVersion\":3,\"manifests\":[]}",
			      NULL), -ENOTSUP);
}

/* --- documents that are too large ------------------------------------- */

Test(document, has_limits)
{
	const size_t big = IMAGE_TEXT_MAX + 1;
	char *text = malloc(big);
	struct oci_choice c;

	cr_assert(text);
	memset(text, ' ', big);
	memcpy(text, "{}", 2);
	cr_expect_eq(oci_read_index(&c, text, big, NULL, &err), -EBADMSG);
	cr_expect(strstr(err.msg, "too large"));
	/* Small to us, large to the parser. */
	for (size_t i = 0; i < IMAGE_TEXT_MAX; i += 2)
		memcpy(text + i, i ? "{," : "[ ", 2);
	cr_expect_eq(oci_read_index(&c, text, IMAGE_TEXT_MAX, NULL, &err),
		     -EBADMSG);
	cr_expect(strstr(err.msg, "too large"));
	memset(text, '[', 60000);
	cr_expect_eq(oci_read_index(&c, text, 60000, NULL, &err), -EBADMSG);
	free(text);
}

/* --- manifest --------------------------------------------------------- */

static struct oci_manifest m;

static int manifest(const char *text)
{
	err = (struct err){ 0 };
	return oci_read_manifest(&m, text, strlen(text), &err);
}

Test(manifest, of_oci_and_of_docker)
{
	cr_assert_eq(manifest(MANIFEST(CONF, TAR(HA) ","
		DESC(OCI "layer.v1.tar", HB, "") ","
		DESC(OCI "layer.v1.tar+zstd", HA, ""))), 0, "%s", err.msg);
	cr_expect_str_eq(m.config.digest, HC);
	cr_expect_eq(m.nlayers, 3);
	cr_expect_str_eq(m.layers[1].digest, HB);
	cr_expect_eq(m.layers[2].size, 7);
	cr_assert_eq(manifest(
		"{\"schemaVersion\":2,\"mediaType\":\"" DOCK
		"distribution.manifest.v2+json\",\"config\":"
		DESC(DOCK "container.image.v1+json", HC, "") ",\"layers\":["
		DESC(DOCK "image.rootfs.diff.tar.gzip", HA, "") "]}"), 0, "%s",
		err.msg);
	cr_expect_eq(m.nlayers, 1);
}

static void unusable(const char *text, const char *words)
{
	cr_expect_eq(manifest(text), -ENOTSUP, "%s", text);
	cr_expect(strstr(err.msg, words), "%s", err.msg);
}

Test(manifest, what_we_cannot_use_is_named)
{
	unusable("{\"schemaVersion\":1,\"name\":\"a\",\"fsLayers\":[]}",
		 "schema 1");
	unusable("{\"schemaVersion\":2,\"mediaType\":\"" OCI
		 "index.v1+json\",\"manifests\":[]}", "index");
	unusable(MANIFEST(DESC(OCI "config.v2+json", HC, ""), TAR(HA)),
		 "artifact");
	unusable(MANIFEST(DESC("application/vnd.oci.empty.v1+json", HC, ""),
			  TAR(HA)), "artifact");
	unusable(MANIFEST(CONF, DESC(OCI "layer.nondistributable.v1.tar", HA,
				     "")), "distributed");
	unusable(MANIFEST(CONF, DESC(DOCK "image.rootfs.foreign.diff.tar.gzip",
				     HA, "")), "distributed");
	unusable(MANIFEST(CONF, DESC(OCI "layer.v1.tar+gzip+encrypted", HA,
				     "")), "encrypted");
	unusable(MANIFEST(CONF, DESC("text/plain", HA, "")), "not a tar");
	unusable(MANIFEST(CONF, DESC("text/\\u00e4", HA, "")), "not a tar");
}

Test(manifest, has_1_to_127_layers)
{
	char *text = malloc(200 * 200);
	size_t n;

	cr_assert(text);
	for (int layers = 126; layers <= 128; layers++) {
		n = (size_t)sprintf(text, "{\"schemaVersion\":2,\"config\":%s,"
					  "\"layers\":[", CONF);
		for (int i = 0; i < layers; i++)
			n += (size_t)sprintf(text + n, "%s%s", i ? "," : "",
					     TAR(HA));
		strcpy(text + n, "]}");
		cr_expect_eq(manifest(text), layers < 128 ? 0 : -ENOTSUP);
	}
	free(text);
	cr_expect_eq(manifest(MANIFEST(CONF, "")), -EBADMSG);
	cr_expect_eq(manifest("{\"schemaVersion\":2,\"config\":" CONF "}"),
		     -EBADMSG);
}

Test(manifest, is_typed_strictly)
{
	static const char *const bad[] = {
		"", "[]", "{}", MANIFEST("[]", TAR(HA)), MANIFEST(CONF, "[]"),
		MANIFEST(CONF, "null"), MANIFEST(CONF, TAR("x")),
		MANIFEST(CONF, "{\"digest\":\"sha256:" HA "\",\"size\":1}"),
		"{\"schemaVersion\":2,\"config\":" CONF ",\"layers\":{}}",
		MANIFEST("{\"mediaType\":\"" OCI "config.v1+json\","
			 "\"digest\":\"sha256:" HC "\",\"size\":99999999}",
			 TAR(HA)),
		MANIFEST("{\"mediaType\":\"" OCI "config.v1+json\","
			 "\"digest\":\"sha256:" HC
			 "\",\"size\":99999999999999999999}", TAR(HA)),
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_eq(manifest(bad[i]), -EBADMSG, "%s: %s", bad[i],
			     err.msg);
}

/* --- docker save ------------------------------------------------------ */

static int saved(struct oci_saved *s, const char *text, const char *want)
{
	err = (struct err){ 0 };
	return oci_read_saved(s, text, strlen(text), want, &err);
}

#define SAVED(config, tags, layers) \
	"{\"Config\":\"" config "\",\"RepoTags\":" tags ",\"Layers\":[" layers \
	"]}"

Test(saved, one_image_has_paths_and_tags)
{
	struct oci_saved s;

	cr_assert_eq(saved(&s, "[" SAVED("c.json", "[\"a:1\",\"b:2\"]",
					 "\"x/layer.tar\",\"y/layer.tar\"")
			       "]", NULL), 0, "%s", err.msg);
	cr_expect_str_eq(s.config, "c.json");
	cr_expect_str_eq(s.layers[1], "y/layer.tar");
	cr_expect_null(s.layers[2]);
	cr_expect_str_eq(s.tags[1], "b:2");
	cr_expect_null(s.tags[2]);
	oci_free_saved(&s);
	cr_assert_eq(saved(&s, "[" SAVED("blobs/sha256/" HC, "null",
					 "\"blobs/sha256/" HA "\"") "]", NULL),
		     0);
	cr_expect_null(s.tags[0]);
	oci_free_saved(&s);
}

Test(saved, several_are_chosen_from_by_tag)
{
	const char *two = "[" SAVED("a.json", "[\"a:1\"]", "\"x\"") ","
			  SAVED("b.json", "[\"b:latest\"]", "\"y\"") "]";
	struct oci_saved s;

	cr_assert_eq(saved(&s, two, NULL), -EINVAL);
	cr_expect(strstr(err.msg, "a:1, b:latest"), "%s", err.msg);
	cr_assert_eq(saved(&s, two, "docker.io/library/b"), 0);
	cr_expect_str_eq(s.config, "b.json");
	oci_free_saved(&s);
	cr_assert_eq(saved(&s, two, "c"), -ENOENT);
	cr_expect(strstr(err.msg, "a:1, b:latest"), "%s", err.msg);
}

Test(saved, paths_lead_nowhere_else)
{
	static const char *const bad[] = { "/a", "..", "../a", "a/../b", "a/.",
					   "./a", "a//b", "a/", ".", "" };
	struct oci_saved s;
	char text[200];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "[" SAVED("c", "[]", "\"%s\"") "]",
			 bad[i]);
		cr_expect_eq(saved(&s, text, NULL), -EBADMSG, "%s", bad[i]);
		snprintf(text, sizeof(text), "[" SAVED("%s", "[]", "\"l\"") "]",
			 bad[i]);
		cr_expect_eq(saved(&s, text, NULL), -EBADMSG, "%s", bad[i]);
	}
	snprintf(text, sizeof(text), "[" SAVED("c", "[]", "\"..a/.b/...\"") "]");
	cr_expect_eq(saved(&s, text, NULL), 0);
	oci_free_saved(&s);
}

Test(saved, is_typed_strictly)
{
	static const char *const bad[] = {
		"", "{}", "[]", "[7]", "[null]", "[{}]",
		"[" SAVED("c", "7", "\"l\"") "]",
		"[" SAVED("c", "[7]", "\"l\"") "]",
		"[" SAVED("c", "[\"\\u001b\"]", "\"l\"") "]",
		"[" SAVED("c", "[]", "7") "]", "[" SAVED("c", "[]", "") "]",
		"[" SAVED("c\\n", "[]", "\"l\"") "]",
	};
	struct oci_saved s;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_expect_eq(saved(&s, bad[i], NULL), -EBADMSG, "%s", bad[i]);
		cr_expect_null(s.config);
	}
}

/* --- config ----------------------------------------------------------- */

static struct image img;

static int config(const char *text, unsigned nlayers)
{
	err = (struct err){ 0 };
	return oci_read_config(&img, text, strlen(text), nlayers, &err);
}

#define ROOTFS(ids) \
	"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" ids "]}"
#define CONFIG(rest) \
	"{\"architecture\":\"amd64\",\"os\":\"linux\"," rest \
	ROOTFS("\"sha256:" HA "\"") "}"
#define RUN(fields) CONFIG("\"config\":{" fields "},")

Test(config, says_what_runs)
{
	cr_assert_eq(config(
		"{\"architecture\":\"amd64\",\"os\":\"linux\","
		"\"created\":\"2023-05-04T17:37:03.872958712Z\",\"config\":{"
		"\"User\":\"app:staff\",\"ExposedPorts\":{\"80/tcp\":{}},"
		"\"Env\":[\"PATH=/bin\",\"A=b=c\\nd\",\"UNSET\"],"
		"\"Entrypoint\":[\"/bin/sh\",\"-c\"],\"Cmd\":[\"echo\",\"\"],"
		"\"Volumes\":{\"/data\":{}},\"WorkingDir\":\"/srv\","
		"\"Labels\":{\"a=b\":\"c\",\"d\":\"\"},"
		"\"StopSignal\":\"SIGTERM\",\"Healthcheck\":{}},"
		ROOTFS("\"sha256:" HA "\",\"sha256:" HB "\"")
		",\"history\":[{\"created\":7}]}", 2), 0, "%s", err.msg);
	cr_expect_eq(img.created, 1683221823872958712ull);
	cr_expect_str_eq(img.env[1], "A=b=c\nd");
	cr_expect_null(img.env[2]);
	cr_expect_str_eq(img.entrypoint[1], "-c");
	cr_expect_str_eq(img.cmd[1], "");
	cr_expect_null(img.cmd[2]);
	cr_expect_str_eq(img.workdir, "/srv");
	cr_expect_str_eq(img.user, "app:staff");
	cr_expect_str_eq(img.stop_signal, "SIGTERM");
	cr_expect_str_eq(img.labels[2], "d");
	cr_expect_str_eq(img.labels[3], "");
	cr_expect_null(img.labels[4]);
	cr_expect_str_eq(img.ports[0], "80/tcp");
	cr_expect_str_eq(img.volumes[0], "/data");
	cr_expect_eq(img.nlayers, 2);
	cr_expect_str_eq(img.layers[1].diff_id, HB);
	image_free(&img);
}

Test(config, may_say_nothing)
{
	static const char *const quiet[] = {
		CONFIG(""), RUN(""), CONFIG("\"config\":null,"),
		RUN("\"Env\":null,\"Cmd\":null,\"User\":\"\","
		    "\"WorkingDir\":\"\",\"Labels\":null"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(quiet); i++) {
		cr_assert_eq(config(quiet[i], 1), 0, "%s", err.msg);
		cr_expect(!*img.env && !*img.cmd && !*img.entrypoint &&
			  !*img.labels && !*img.ports && !*img.volumes);
		cr_expect(!img.user && !img.workdir && !img.stop_signal);
		image_free(&img);
	}
	cr_assert_eq(config(RUN("\"WorkingDir\":\"srv\""), 1), 0);
	cr_expect_str_eq(img.workdir, "/srv");
	image_free(&img);
}

Test(config, dates_are_taken_as_far_as_they_are_some)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} t[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "1970-01-01T00:00:01Z", 1000000000 },
		{ "1970-01-01T00:00:01.5Z", 1500000000 },
		{ "1970-01-01T00:00:00.0000000019Z", 1 },
		{ "1970-01-01T02:00:00+01:30", 1800000000000ull },
		{ "1969-12-31T23:30:00-00:30", 0 },
		{ "1970-01-01T00:00:00-00:30", 1800000000000ull },
		{ "0001-01-01T00:00:00Z", 0 },
		{ "9999-01-01T00:00:00Z", 0 },
		{ "2023-13-01T00:00:00Z", 0 },
		{ "2023-01-01T00:00:00", 0 },
		{ "2023-01-01T00:00:00Zx", 0 },
		{ "yesterday", 0 },
		{ "", 0 },
	};
	char text[400];

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		snprintf(text, sizeof(text), CONFIG("\"created\":\"%s\","),
			 t[i].text);
		cr_assert_eq(config(text, 1), 0, "%s", err.msg);
		cr_expect_eq(img.created, t[i].ns, "%s", t[i].text);
		image_free(&img);
	}
}

Test(config, of_another_machine_is_refused_with_its_name)
{
	cr_expect_eq(config("{\"architecture\":\"arm64\",\"os\":\"linux\","
			    ROOTFS("\"sha256:" HA "\"") "}", 1), -ENOTSUP);
	cr_expect(strstr(err.msg, "linux/arm64"), "%s", err.msg);
	cr_expect_eq(config("{\"architecture\":\"amd64\",\"os\":\"windows\","
			    ROOTFS("\"sha256:" HA "\"") "}", 1), -ENOTSUP);
	cr_expect_eq(config("{\"os\":\"linux\"," ROOTFS("\"sha256:" HA "\"")
			    "}", 1), -EBADMSG);
}

Test(config, has_a_diff_id_for_each_layer)
{
	cr_expect_eq(config(CONFIG(""), 2), -EBADMSG);
	cr_expect_eq(config(CONFIG(""), 0), -EBADMSG);
	cr_expect_eq(config(CONFIG(""), 128), -EBADMSG);
	cr_expect_eq(config("{\"architecture\":\"amd64\",\"os\":\"linux\","
			    ROOTFS("\"" HA "\"") "}", 1), -EBADMSG);
	cr_expect_eq(config("{\"architecture\":\"amd64\",\"os\":\"linux\","
			    ROOTFS("7") "}", 1), -EBADMSG);
	cr_expect_eq(config("{\"architecture\":\"amd64\",\"os\":\"linux\"}",
			    1), -EBADMSG);
}

Test(config, is_typed_strictly)
{
	static const char *const bad[] = {
		"", "[]", CONFIG("\"config\":[],"), CONFIG("\"created\":7,"),
		RUN("\"Env\":\"A=b\""), RUN("\"Env\":[7]"),
		RUN("\"Env\":[\"=b\"]"), RUN("\"Env\":[\"A=\\u0000\"]"),
		RUN("\"Cmd\":\"sh\""), RUN("\"Cmd\":[null]"),
		RUN("\"Entrypoint\":{}"), RUN("\"User\":0"),
		RUN("\"User\":\"a\\u001bb\""), RUN("\"WorkingDir\":\"/\\n\""),
		RUN("\"StopSignal\":15"), RUN("\"StopSignal\":\"\\t\""),
		RUN("\"Labels\":{\"a\":1}"), RUN("\"Labels\":[]"),
		RUN("\"ExposedPorts\":[]"), RUN("\"User\":\"a\",\"User\":\"b\""),
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cr_expect_eq(config(bad[i], 1), -EBADMSG, "%s", bad[i]);
		cr_expect(!img.layers && !img.env);
	}
}

Test(config, lists_and_strings_have_limits)
{
	char *text = malloc(1 << 20);
	size_t n;

	cr_assert(text);
	for (int vars = 1024; vars <= 1025; vars++) {
		n = (size_t)sprintf(text, "{\"architecture\":\"amd64\",\"os\":"
					  "\"linux\",\"config\":{\"Env\":[");
		for (int i = 0; i < vars; i++)
			n += (size_t)sprintf(text + n, "%s\"A%d=\"",
					     i ? "," : "", i);
		sprintf(text + n, "]}," ROOTFS("\"sha256:" HA "\"") "}");
		cr_expect_eq(config(text, 1), vars > 1024 ? -EBADMSG : 0);
		image_free(&img);
	}
	for (int size = 131071; size <= 131072; size++) {
		n = (size_t)sprintf(text, "{\"architecture\":\"amd64\",\"os\":"
					  "\"linux\",\"config\":{\"Cmd\":[\"");
		memset(text + n, 'x', (size_t)size);
		n += (size_t)size;
		sprintf(text + n, "\"]}," ROOTFS("\"sha256:" HA "\"") "}");
		cr_expect_eq(config(text, 1), size > 131071 ? -EBADMSG : 0);
		image_free(&img);
	}
	free(text);
}

/* --- the record ------------------------------------------------------- */

Test(image, is_written_and_read_again)
{
	struct image again;
	char *text, *twice;

	cr_assert_eq(config(RUN("\"Env\":[\"A=\\u00e4\\u001b\"],\"Cmd\":[\"a\"],"
				"\"User\":\"1:2\",\"Labels\":{\"k\":\"v\"},"
				"\"ExposedPorts\":{\"1/udp\":{}}"), 1), 0);
	strcpy(img.id, HC);
	strcpy(img.layers[0].digest, HB);
	img.layers[0].data_size = 4096;
	img.root_size = 8192;
	img.created = 1;
	img.imported = 1683221823872958712ull;
	img.source = strdup("oci:dir");
	text = image_format(&img);
	cr_assert(text);
	cr_assert_eq(image_read(&again, text, strlen(text), &err), 0, "%s",
		     err.msg);
	twice = image_format(&again);
	cr_expect_str_eq(twice, text);
	cr_expect_eq(again.imported, img.imported);
	cr_expect_eq(image_size(&again), 12288);
	free(text);
	free(twice);
	image_free(&again);
	image_free(&img);
}

Test(image, source_of_any_kind_can_be_read_again)
{
	char name[20000] = "\033[2J\xc2\x9b";
	struct image again;
	char *text;

	for (size_t n = 6; n + 3 < sizeof(name); n += 3)
		memcpy(name + n, "\xef\xbf\xbd", 4);
	cr_assert_eq(config(CONFIG(""), 1), 0);
	strcpy(img.id, HC);
	strcpy(img.layers[0].digest, HB);
	img.source = name;
	text = image_format(&img);
	cr_assert(text);
	cr_assert_eq(image_read(&again, text, strlen(text), &err), 0, "%s",
		     err.msg);
	cr_expect_eq(strncmp(again.source, "?[2J?\xef\xbf\xbd", 8), 0);
	free(text);
	img.source = NULL;
	image_free(&again);
	image_free(&img);
}

Test(image, size_counts_a_layer_once)
{
	struct image_layer l[3] = { { .digest = HA, .data_size = 1 },
				    { .digest = HB, .data_size = 10 },
				    { .digest = HA, .data_size = 1 } };
	struct image i = { .layers = l, .nlayers = 3, .root_size = 100 };

	cr_expect_eq(image_size(&i), 111);
}

Test(image, of_one_tar_has_a_config)
{
	char *text = image_bare_config(HA);

	cr_assert(text);
	cr_assert_eq(config(text, 1), 0, "%s", err.msg);
	cr_expect_str_eq(img.layers[0].diff_id, HA);
	cr_expect(!*img.env && !*img.cmd && !img.created);
	image_free(&img);
	free(text);
}

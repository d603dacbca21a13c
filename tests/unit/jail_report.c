/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of a jail: what is on, what is missing, and what follows. */
#include "jail/layers.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "jail/cgroup.h"
#include "runner/base/err.h"
#include "runner/base/mem.h"
#include "runner/config.h"
#include "runner/doctor.h"
#include "runner/jail_tell.h"
#include "runner/machine.h"
#include "runner/meta.h"

#define BIT(l) (1u << (l))
#define ALL (BIT(JAIL_LAYERS) - 1)

static struct jail_report without(uint32_t mask)
{
	struct jail_report r = { .on = ALL & ~mask };

	for (int l = 0; l < JAIL_LAYERS; l++)
		if (mask & BIT(l))
			jail_report_missing(&r, (enum jail_layer)l, "mend %d",
					    "no %d", l);
	return r;
}

/* --- the report ----------------------------------------------------------- */

Test(jail_report, every_layer_has_a_name_of_its_own)
{
	char names[JAIL_NAMES_MAX];

	for (int l = 0; l < JAIL_LAYERS; l++) {
		cr_expect_not_null(jail_layer_name((enum jail_layer)l));
		for (int k = 0; k < l; k++)
			cr_expect(strcmp(jail_layer_name((enum jail_layer)l),
					 jail_layer_name((enum jail_layer)k)));
	}
	cr_expect_str_eq(jail_layer_names(0, names), "");
	cr_expect_str_eq(jail_layer_names(BIT(JAIL_ROOT) | BIT(JAIL_SECCOMP),
					  names),
			 "empty_root, seccomp");
	jail_layer_names(ALL, names);
	cr_expect_str_eq(names + strlen(names) - 9, ", seccomp",
			 "all fit: %s", names);
}

Test(jail_report, the_first_reason_for_a_layer_stays)
{
	struct jail_report r = { 0 };

	jail_report_on(&r, JAIL_MEMORY);
	jail_report_missing(&r, JAIL_MEMORY, "do this", "because of %s", "x");
	jail_report_missing(&r, JAIL_MEMORY, "do that", "because of y");
	cr_expect_eq(r.on, 0);
	cr_assert_eq(r.nmissing, 1);
	cr_expect_str_eq(r.missing[0].why, "because of x");
	cr_expect_str_eq(r.missing[0].remedy, "do this");
	cr_expect_eq(jail_report_lacks(&r), BIT(JAIL_MEMORY));
}

Test(jail_report, what_the_program_says_completes_it)
{
	struct jail_report r = without(BIT(JAIL_UID));

	r.on &= ~(uint32_t)JAIL_OWN;
	jail_report_program(&r, JAIL_OWN);
	cr_expect_eq(r.on, ALL & ~BIT(JAIL_UID));
	cr_expect_eq(jail_report_lacks(&r), BIT(JAIL_UID));
}

Test(jail_report, what_the_program_does_not_say_is_missing_with_a_remedy)
{
	struct jail_report r = { 0 };

	jail_report_program(&r, BIT(JAIL_SECCOMP));
	cr_expect_eq(r.on, BIT(JAIL_SECCOMP));
	cr_assert_eq(r.nmissing, 1);
	cr_expect_eq(r.missing[0].layer, JAIL_LANDLOCK);
	cr_expect(r.missing[0].why[0]);
	cr_expect(r.missing[0].remedy[0]);
}

Test(jail_report, the_program_has_no_say_in_other_layers)
{
	struct jail_report r = without(BIT(JAIL_NAMESPACES));

	jail_report_program(&r, UINT32_MAX);
	cr_expect_eq(r.on, ALL & ~BIT(JAIL_NAMESPACES));
}

/* --- a terminal ------------------------------------------------------------ */

/* Whoever runs this test. */
static void be_nobody(void)
{
	if (!geteuid())
		cr_assert_eq(setresuid(65534, 65534, 65534), 0);
}

Test(jail_notice, one_line_names_what_matters)
{
	struct jail_report r = without(BIT(JAIL_ROOT) | BIT(JAIL_UID) |
				       BIT(JAIL_PIDS));
	char line[300];

	be_nobody();
	cr_assert(jail_notice(&r, line, sizeof(line)));
	cr_expect(strstr(line, "no empty_root, cgroup_pids on"), "%s",
		  line);
	cr_expect(strstr(line, "mayfly doctor"), "%s", line);
}

Test(jail_notice, a_user_of_ones_own_is_no_news)
{
	struct jail_report r = without(BIT(JAIL_UID));
	char line[300];

	be_nobody();
	cr_expect_not(jail_notice(&r, line, sizeof(line)));
	r = without(0);
	cr_expect_not(jail_notice(&r, line, sizeof(line)));
	/* What was not asked for is not missing. */
	r.on &= ~BIT(JAIL_CPU);
	cr_expect_not(jail_notice(&r, line, sizeof(line)));
}

Test(jail_notice, root_without_another_user_is_news)
{
	struct jail_report r = without(BIT(JAIL_UID));
	char line[300];

	if (geteuid())
		cr_skip_test("not root");
	cr_assert(jail_notice(&r, line, sizeof(line)));
	cr_expect(strstr(line, "no own_uid on"), "%s", line);
}

/* --- --strict --------------------------------------------------------------- */

/* A machine whose VMM says that it has started, with these layers. */
static struct machine started(uint32_t layers, int vmm[1])
{
	const struct ctl_event e = { .type = CTL_STARTED, .layers = layers };
	struct machine m;
	struct config c;
	int pair[2];

	config_init(&c);
	machine_init(&m, &c);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0,
				pair), 0);
	m.control = pair[0];
	*vmm = pair[1];
	cr_assert_eq(ctl_send_event(*vmm, &e), 0);
	return m;
}

Test(strict, lets_a_guest_go_whose_jail_is_whole)
{
	int vmm;
	struct machine m = started(JAIL_OWN, &vmm);
	struct ctl_event e;

	m.strict = 1;
	cr_assert_eq(machine_event(&m, &e), 1);
	cr_expect_eq(e.type, CTL_STARTED);
	cr_expect_eq(ctl_recv_word(vmm), CTL_GO);
	machine_free(&m);
	close(vmm);
}

Test(strict, holds_a_guest_whose_vmm_lacks_a_layer)
{
	int vmm;
	struct machine m = started(BIT(JAIL_SECCOMP), &vmm);
	struct ctl_event e;

	m.strict = 1;
	cr_assert_eq(machine_event(&m, &e), 1);
	cr_expect_eq(e.type, CTL_FAILED);
	cr_expect_eq(e.code, -EPERM);
	cr_expect(strstr(e.msg, "jail: no landlock: "), "%s", e.msg);
	cr_expect(e.hint[0]);
	cr_expect_eq(ctl_recv_word(vmm), -EAGAIN);
	machine_free(&m);
	close(vmm);
}

Test(strict, holds_a_guest_whose_jail_lacks_a_layer)
{
	int vmm;
	struct machine m = started(JAIL_OWN, &vmm);
	struct ctl_event e;

	m.strict = 1;
	m.jail = without(BIT(JAIL_UID) | BIT(JAIL_CPU) | BIT(JAIL_PIDS));
	cr_assert_eq(machine_event(&m, &e), 1);
	cr_expect_eq(e.type, CTL_FAILED);
	cr_expect_str_eq(e.msg, "jail: no own_uid: no 2; nor cgroup_cpu, "
				"cgroup_pids");
	cr_expect_str_eq(e.hint, "mend %d; mayfly doctor has the others");
	cr_expect_eq(ctl_recv_word(vmm), -EAGAIN);
	machine_free(&m);
	close(vmm);
}

Test(strict, is_not_the_default)
{
	int vmm;
	struct machine m = started(0, &vmm);
	struct ctl_event e;

	cr_assert_eq(machine_event(&m, &e), 1);
	cr_expect_eq(e.type, CTL_STARTED);
	cr_expect_eq(m.jail.nmissing, 2);
	machine_free(&m);
	close(vmm);
}

Test(strict, names_one_layer_with_its_remedy)
{
	struct jail_report r = without(BIT(JAIL_ROOT));
	struct err err = { 0 };

	cr_assert_eq(jail_report_strict(&r, &err), -EPERM);
	cr_expect_str_eq(err.msg, "jail: no empty_root: no 1");
	cr_expect_str_eq(err.hint, "mend %d");
	r = without(0);
	cr_expect_eq(jail_report_strict(&r, &err), 0);
}

/* The second time it speaks for a guest. */
Test(jail_report, a_vmm_starts_once)
{
	const struct ctl_event again = { .type = CTL_STARTED,
					 .layers = UINT32_MAX };
	int vmm;
	struct machine m = started(0, &vmm);
	struct jail_report before;
	struct ctl_event e;

	cr_assert_eq(machine_event(&m, &e), 1);
	before = m.jail;
	cr_assert_eq(ctl_send_event(vmm, &again), 0);
	cr_expect_eq(machine_event(&m, &e), -EPROTO);
	cr_expect_arr_eq(&before, &m.jail, sizeof(before));
	machine_free(&m);
	close(vmm);
}

/* --- --meta and doctor ------------------------------------------------------ */

static json_t *meta_of(const struct jail_report *r)
{
	struct run_result result = { 0 };
	struct config c;
	struct meta m = { .config = &c, .result = &result, .jail = r };
	_cleanup_free_ char *text = NULL;
	json_t *doc;

	config_init(&c);
	text = meta_format(&m);
	cr_assert_not_null(text);
	doc = json_loads(text, 0, NULL);
	cr_assert_not_null(doc);
	return doc;
}

static json_t *jail_of(const json_t *doc)
{
	return json_object_get(json_object_get(doc, "host"), "jail");
}

Test(meta_jail, has_the_layers_and_what_is_missing)
{
	struct jail_report r = without(BIT(JAIL_ROOT));
	json_t *doc = meta_of(&r), *jail = jail_of(doc), *missing;

	cr_expect_eq(json_array_size(json_object_get(jail, "layers")),
		     JAIL_LAYERS - 1);
	missing = json_object_get(jail, "missing");
	cr_assert_eq(json_array_size(missing), 1);
	missing = json_array_get(missing, 0);
	cr_expect_str_eq(json_string_value(json_object_get(missing, "layer")),
			 "empty_root");
	cr_expect_str_eq(json_string_value(json_object_get(missing, "why")),
			 "no 1");
	cr_expect_str_eq(json_string_value(json_object_get(missing, "remedy")),
			 "mend %d");
	json_decref(doc);
}

Test(meta_jail, is_null_where_it_did_not_come_to_one)
{
	const struct jail_report none = { 0 };
	json_t *doc = meta_of(&none);

	cr_expect(json_is_null(jail_of(doc)));
	json_decref(doc);
	doc = meta_of(NULL);
	cr_expect(json_is_null(jail_of(doc)));
	json_decref(doc);
}

Test(doctor_layers, has_a_line_for_each_and_a_remedy_for_what_is_missing)
{
	static struct doctor d;
	struct jail_report r = without(BIT(JAIL_MEMORY) | BIT(JAIL_SECCOMP));
	const struct cgroup none = { 0 };

	doctor_layers(&d, &r, &none);
	cr_assert_eq(d.n, JAIL_LAYERS);
	for (size_t i = 0; i < d.n; i++) {
		int missing = i == JAIL_MEMORY || i == JAIL_SECCOMP;

		cr_expect_str_eq(d.line[i].what,
				 jail_layer_name((enum jail_layer)i));
		cr_expect_eq(d.line[i].health,
			     missing ? DOCTOR_WARN : DOCTOR_OK, "%s",
			     d.line[i].what);
		cr_expect(d.line[i].words[0], "%s", d.line[i].what);
		cr_expect_eq(!!d.line[i].remedy[0], missing, "%s",
			     d.line[i].what);
	}
	cr_expect_str_eq(d.line[JAIL_MEMORY].words, "missing: no 6");
}

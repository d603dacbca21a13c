/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record: what is known of a run, as record.json keeps it.
 *
 * Pure but for record_print(): from bytes to a checked structure and back, no
 * files. A record owns its document; record_free() takes a zeroed one. What the
 * file says was written by a mayfly of the same user, and yet is believed only
 * as far as it was checked: a field that is missing or of the wrong kind is
 * -EBADMSG.
 */
#ifndef MAYFLY_RECORD_H
#define MAYFLY_RECORD_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct json_t;

#define STATE_ID_MAX   13 /* 12 hex digits and a NUL */
#define STATE_NAME_MAX 65
#define RECORD_MAX     (2u << 20) /* bytes; the arguments are 256 KiB at most */
#define RECORD_FORMAT  1

enum phase {
	PHASE_STARTING, /* the command does not run yet */
	PHASE_RUNNING,
	PHASE_EXITED, /* ended, and said how */
	PHASE_LOST,   /* its supervisor died; derived, never written */
};

struct record {
	enum phase phase;
	char id[STATE_ID_MAX];
	char name[STATE_NAME_MAX]; /* "": none */
	int detached, auto_remove, tty;
	char engine[8]; /* "": not known yet */
	unsigned cpus;	/* 0: not known yet */
	uint64_t memory;
	int stop_signal; /* of its image; 0: none */
	int pid; /* of the supervisor: to show, never to signal; 0: not yet */
	/* CLOCK_REALTIME in ns; 0: it did not come to that. */
	uint64_t created, started, ended;
	/* PHASE_EXITED */
	int exit_code;
	char verdict[24];
	/* All of the above once more, with command, image and report. */
	struct json_t *doc;
};

const char *phase_name(enum phase p);

/* @text need not be NUL-terminated. 0, -EBADMSG or -ENOMEM. */
int record_parse(struct record *r, const char *text, size_t len);

/* The document with @r's fields put in, as text that the caller frees; NULL
 * without memory. @r->doc is made where there is none. */
char *record_format(struct record *r);

/* JSON as all commands print it: text that the caller frees, or NULL. */
char *record_dump(const struct json_t *doc);

/* The same on standard output: takes @doc, which may be NULL, as it may where
 * putting it together went @bad. 0 or -ENOMEM. */
int record_print(struct json_t *doc, int bad, struct err *err);

/* Put a string (NULL: null) or a list of words (NULL-terminated) into the document; bytes
 * that are not UTF-8 become U+FFFD. 0 or -ENOMEM. */
int record_put(struct record *r, const char *key, const char *value);
int record_put_words(struct record *r, const char *key, char *const *words);
/* Put a JSON object, given as text. 0, -EINVAL or -ENOMEM. */
int record_put_json(struct record *r, const char *key, const char *text);

/* The command as one line of at most @cap - 1 bytes, for a table: blanks
 * between words, control characters as '?'. Valid UTF-8. */
void record_command(const struct record *r, char *buf, size_t cap);
/* What the user named as its image, in the same way; "-": the built-in one. */
void record_image(const struct record *r, char *buf, size_t cap);

/* record_ports.c: those that the host has of it: "8080-8081->80-81/tcp,
 * [::1]:53->53/udp", without an address where it is all of them; "": none, or
 * not any more. In place of what does not fit are dots. */
#define RECORD_PORTS_MAX 61 /* enough for a cell of a table */
void record_ports(const struct record *r, char *buf, size_t cap);

/*
 * What an image says of its commands, for more of them; NULL where it says
 * nothing. Strings live as long as the record, the list is the caller's.
 */
const char *record_user(const struct record *r);
const char *record_workdir(const struct record *r);
char **record_env(const struct record *r);

void record_free(struct record *r);

#endif

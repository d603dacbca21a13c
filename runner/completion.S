/* SPDX-License-Identifier: Apache-2.0 */
/* The shells' functions as strings, for runner/cmd_completion.c. */
	.section .rodata
	.macro file name, path
	.globl \name
\name:
	.incbin "\path"
	.byte 0
	.endm
	file completion_bash, "runner/completion/mayfly.bash"
	file completion_zsh, "runner/completion/mayfly.zsh"
	file completion_fish, "runner/completion/mayfly.fish"
	.section .note.GNU-stack, "", @progbits

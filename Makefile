# SPDX-License-Identifier: Apache-2.0
# mayfly: one Makefile, explicit source lists, everything below $(B). `make
# help` lists the targets. V=1 shows commands, WERROR=1 makes warnings errors,
# SAN=address,undefined (or thread) builds with sanitizers: give it a B of its
# own. FAULTS=1 builds programs that misbehave when told to, for tests
# (runner/base/fault.h), in build/faults. Nothing is asked of the host while
# this is read, so that `make deps` can bring what is missing.

FAULTS  ?=
B       ?= build$(if $(FAULTS),/faults)
ifeq ($(filter environment command,$(firstword $(origin CC))),)
CC      := gcc
endif
MUSLCC  ?= musl-gcc
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0
SAN     ?=
WERROR  ?= $(CI)
# L: files in $(B)/guest are links into the cache, and as new as the link.
MAKEFLAGS += -rRL --no-print-directory

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wformat=2 -Wimplicit-fallthrough -Wno-format-nonliteral \
	$(if $(WERROR),-Werror)
# Guest registers and memory are read at every width: no type-based aliasing.
STD  := -std=c11 -D_GNU_SOURCE -fno-strict-aliasing -I. -I$(B) -DMAYFLY_VERSION='"$(VERSION)"'
HARD := -fstack-protector-strong -fPIE $(if $(SAN),,-D_FORTIFY_SOURCE=2)
OPT  ?= -O2 -g
# Below -O2 gcc does not make jumps of tail calls: runner/engine/soft/cpu.h.
LOOP := $(if $(filter -O2 -O3,$(lastword $(filter -O%,$(OPT) $(CFLAGS)))),,\
	-DSOFT_LOOP)
# Such a build has a wider filter and no Landlock: jail/lock.c.
SAN_DEF := $(if $(SAN),-DMAYFLY_SAN)
CFLAGS_ALL := $(STD) $(OPT) $(WARN) $(HARD) $(LOOP) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer \
	-fno-sanitize-recover=all $(SAN_DEF)) $(if $(FAULTS),-DMAYFLY_FAULTS) $(CFLAGS)
LDFLAGS_ALL := -Wl,-z,relro,-z,now,-z,noexecstack \
	$(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

# A sanitizer's run-time library is a shared one.
PIE := $(if $(SAN),-pie,-static-pie)
SAN_OBJ := $(if $(filter thread,$(SAN)),$(B)/obj/tests/tsan.o)

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n'
endif

# --- what to type ------------------------------------------------------
# run and check start from nothing: they fetch packages first, and only then
# let a second make look at what there is to build.

GUEST_FILES := vmlinux agent.cpio base.img scratch.pack
PRODUCT := $(B)/mayfly $(B)/mayfly-vmm $(B)/mayfly-unpack $(B)/mayfly-net \
	$(GUEST_FILES:%=$(B)/guest/%)
# The kernel's build shows its progress on one line: it comes last, alone.
SMALL := $(filter-out %/vmlinux,$(PRODUCT))
# For a make below this one: all CPUs, unless who called has said how many.
SUB = $(if $(V),,-s) \
	$(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: all guest help deps run check check-programs san-programs clean
#: all            build everything, install no package (the default)
all: $(PRODUCT) $(if $(FAULTS),$(B)/tests/unit/net_keep_end $(B)/tests/net-host)
guest: $(GUEST_FILES:%=$(B)/guest/%)

help:
	$(Q)sed -n 's/^#: /  /p' Makefile

#: deps           install the Debian packages that are missing
deps:
	$(Q)tools/deps.sh build check

#: run            packages, build, and a demonstration in a microVM
run:
	$(Q)MAKE='$(MAKE) $(SUB)' tools/run.sh $(B) $(SMALL)

#: check          packages, build, and every test; ends with the counts
check: check-build
	$(Q)$(CHECK) $(B) $(CHECK_SUITES)
#: check-long     what takes an hour: soak, sanitizers, real software, fuzzing
check-long: check-build long-build
	$(Q)$(CHECK) $(B) $(LONG_SUITES)
#: check-all      both
check-all: check-build long-build
	$(Q)$(CHECK) $(B) $(CHECK_SUITES) $(LONG_SUITES)

CHECK_SUITES := tree unit guest attack fuzz-smoke san system others faults jail kvmhost docs \
	readme
LONG_SUITES := tsan diff soak software fuzz kvm package

.PHONY: check-long check-all check-build long-build
check-build:
	$(Q)tools/deps.sh build check
	$(Q)$(MAKE) $(SUB) $(SMALL) check-programs san-programs fuzz-build
	$(Q)$(MAKE) $(SUB) $(PRODUCT)
	$(Q)$(MAKE) $(SUB) B=$(B)/san SAN=address,undefined all
	$(Q)$(MAKE) $(SUB) B=$(B)/faults FAULTS=1 all
long-build: check-build
	$(Q)$(MAKE) $(SUB) B=$(B)/tsan SAN=thread all $(B)/tsan/tests/guest-run \
		$(B)/tsan/tests/attack-run $(NET_TOOLS:$(B)/%=$(B)/tsan/%) payloads
	$(Q)tools/deps.sh package software
	$(Q)$(MAKE) $(SUB) deb

#: clean          remove what was built here; the cache stays
clean:
	$(Q)rm -rf $(B) compile_commands.json

# --- libraries ---------------------------------------------------------
# base: nothing below it. vmm, x86, dev, virtio, disk, engine: what
# mayfly-vmm is made of. run: the launcher. One list each.

BASE_SRC := $(addprefix runner/base/,err.c log.c io.c ev.c sysctl.c \
	$(if $(FAULTS),fault.c))

VMM_SRC := $(addprefix runner/vmm/,gmem.c bus.c ctl.c vcpu.c vm.c \
	vm_devices.c) \
	$(addprefix runner/x86/,boot.c zeropage.c regs.c cpuid.c acpi.c aml.c) \
	$(addprefix runner/dev/,serial.c power.c rtc.c)

VIRTIO_SRC := $(addprefix runner/virtio/,queue.c virtio.c mmio.c blk.c \
	limiter.c vsock.c vsock_conn.c vsock_dial.c rng.c net.c net_rx.c \
	net_tx.c net_frame.c) \
	$(addprefix runner/disk/,raw.c concat.c overlay.c)

ENGINE_SRC := $(addprefix runner/engine/,engine.c kvm.c kvm_state.c probe.c \
	probe_cache.c probe_guest.S)

SOFT_SRC := $(addprefix runner/engine/soft/,soft.c loop.c mmu.c block.c emit.c \
	alu.c shift.c bits.c muldiv.c move.c stack.c branch.c string.c legacy.c \
	decode.c decode_operand.c decode_table.c decode_table_0f.c \
	sys.c operand.c msr.c ctrl.c seg.c flags.c far.c far_gate.c pio.c except.c \
	debug.c \
	lapic.c ioapic.c \
	simd.c x87.c fxsave.c native.c xlate.c \
	xlate_insn.c xlate_table.c)

JAIL_SRC := $(addprefix jail/,jail.c layers.c spawn.c ids.c room.c caps.c)
JAIL_SRC += $(addprefix jail/cgroup,.c _file.c _map.c _place.c _sweep.c _v1.c _v2.c)

# What mayfly-vmm has of the jail: it does this to itself.
LOCK_SRC := jail/lock.c jail/seccomp_rules.c

RUN_SRC := $(addprefix runner/,opts.c config.c artifact.c scratch.c sink.c \
	terminal.c console.c machine.c verdict.c meta.c meta_isolate.c meta_network.c run.c session.c \
	session_io.c config_env.c config_limits.c run_limits.c run_user.c cputime.c launch.c supervise.c cmd_exec.c cmd_cp.c \
	cp_host.c transfer.c copies.c config_copy.c config_publish.c publish.c publish_link.c publish_udp.c publish_holder.c run_copies.c network.c network_uplink.c network_guard.c forwarder.c pasta.c \
	format.c record.c record_ports.c state_dir.c state.c state_list.c journal.c control.c \
	detach.c targets.c log_view.c cmd_ps.c cmd_logs.c cmd_stop.c \
	cmd_prune.c cmd_net.c cmd_run.c cmd_boot.c cmd_doctor.c cmd_completion.c \
	completion.S commands.c)

RUN_SRC += $(addprefix runner/,confine.c doctor_engine.c doctor_host.c \
	scratch_pack.c scratch_make.c scratch_cache.c config_disk.c config_net.c drive.c signo.c \
	config_image.c image_find.c \
	trace.c stats.c jail_tell.c doctor_jail.c doctor_net.c)

RUN_SRC += $(addprefix runner/,unpacker.c feed.c interrupt.c progress.c \
	image_source.c image_files.c image_layers.c image_import.c image_pull.c \
	skopeo.c cmd_image.c cmd_image_list.c)

# wire: both ends of the control connection. agent: the guest's init, here
# for its tests; the one that runs is linked with musl, below.
WIRE_SRC := $(addprefix rootfs/,wire.c relay.c tree_pack.c tree_unpack.c)
AGENT_SRC := $(addprefix rootfs/agent/,boot.c cgroup.c command.c dial.c limit.c \
	more.c mount.c net.c say.c session.c spawn.c stream.c tool.c user.c)

# unpack: what reads tars of images, in a program of its own.
UNPACK_SRC := $(addprefix rootfs/,layer.c layer_write.c layer_data.c blob.c \
	tar.c tar_xattr.c untar.c unarchive.c packdir.c)
UNPACK_SRC += $(addprefix rootfs/,merge.c merge_tree.c erofs.c erofs_parts.c)

# image: what images are called, what their documents say, where they are kept.
IMAGE_SRC := $(addprefix rootfs/,reference.c document.c oci_index.c \
	oci_manifest.c oci_config.c image.c image_config.c)
IMAGE_SRC += $(addprefix rootfs/,store.c store_dir.c store_look.c store_add.c \
	store_same.c store_list.c store_remove.c)

# net: a VM's network, for mayfly and mayfly-net.
NET_SRC := $(addprefix net/,addr.c rule.c rule_parse.c plan.c table.c batch.c \
	expr.c table_vm.c table_host.c flows.c)
comma := ,
# Links and sets by netlink; the program nft; taps.
NET_SRC += $(addprefix net/,nl.c nl_names.c nfnl.c nft.c tap.c keep.c \
	keeper.c learn.c watch.c)
# What runs share on the host.
NET_SRC += $(addprefix net/,lease.c local.c taken.c ruleset.c ruleset_change.c \
	legacy.c host.c host_look.c host_forward.c host_memory.c host_prune.c host_watch.c)
NET_SRC += $(addprefix net/,dns.c dns_build.c forward.c forward_ask.c \
	forward_answer.c forward_guest.c forward_learn.c forward_setup.c \
	forward_stream.c dial.c)
NET_LD := $(patsubst %,-Wl$(comma)--wrap=get%,addrinfo protobyname \
	protobynumber) -Wl,-u,__wrap_getaddrinfo -lnl-route-3 -lnl-3
$(foreach f,ruleset ruleset_change host_look,$(eval CFLAGS_net_$(f) := -I/usr/include/libnl3))
CFLAGS_net_nl := -I/usr/include/libnl3
CFLAGS_net_nfnl := -I/usr/include/libnl3

LIBS := diff base vmm virtio engine soft jail lock run wire agent unpack image \
	net
# the host CPU as the oracle of tests/unit/diff_*.c, and soft beside it
diff_SRC := $(addprefix tests/diff/,host.c enter.S guest.c forms.c gen.c insn.c \
	check.c print.c block.c)
base_SRC := $(BASE_SRC)
vmm_SRC := $(VMM_SRC)
virtio_SRC := $(VIRTIO_SRC)
engine_SRC := $(ENGINE_SRC)
soft_SRC := $(SOFT_SRC)
jail_SRC := $(JAIL_SRC)
lock_SRC := $(LOCK_SRC)
run_SRC := $(RUN_SRC)
wire_SRC := $(WIRE_SRC)
agent_SRC := $(AGENT_SRC)
unpack_SRC := $(UNPACK_SRC)
image_SRC := $(IMAGE_SRC)
net_SRC := $(NET_SRC)

define lib_rule
$(B)/lib$(1).a: $$(addprefix $(B)/obj/,$$(addsuffix .o,$$(basename $$($(1)_SRC))))
	$$(say) AR $$@
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach l,$(LIBS),$(eval $(call lib_rule,$(l))))

$(B)/obj/%.o: %.c
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(CFLAGS_$(subst /,_,$*)) -MMD -MP -c -o $@ $<

$(B)/obj/%.o: %.S
	$(say) AS $<
	@mkdir -p $(@D)
	$(Q)$(CC) -I. -MMD -MP -c -o $@ $<

# .incbin is not in what -MMD writes.
$(B)/obj/runner/completion.o: $(addprefix runner/completion/mayfly.,\
	bash zsh fish)

# Filters for jail/lock.c. The program runs here and now: no sanitizer.
$(B)/mkseccomp: jail/mkseccomp.c jail/seccomp_rules.c $(addprefix jail/,\
		seccomp_rules.h lock.h)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(STD) -O1 $(WARN) $(SAN_DEF) $(CFLAGS) -o $@ \
		$(filter %.c,$^) -lseccomp

$(B)/jail/seccomp_filters.h: $(B)/mkseccomp
	$(say) BPF $@
	@mkdir -p $(@D)
	$(Q)$< >$@.new && mv $@.new $@

$(B)/obj/jail/lock.o: $(B)/jail/seccomp_filters.h

# --- mayfly-vmm --------------------------------------------------------
# libc only, and static: the process that faces the guest loads nothing.

$(B)/mayfly-vmm: $(B)/obj/runner/vmm/main.o $(SAN_OBJ) \
		$(foreach l,vmm virtio engine soft lock base,$(B)/lib$(l).a)
	$(say) LD $@
	$(Q)$(CC) $(PIE) $(LDFLAGS_ALL) -Wl,--gc-sections -o $@ \
		$(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
		-Wl,--end-group -lpthread -lm

# --- mayfly ------------------------------------------------------------
# The launcher. Static as well: it starts in half the time, and runs where
# none of its libraries are installed.

MAYFLY_LIBS := run jail lock wire image net vmm engine base
MAYFLY_LD := -ljansson -lcap -lnettle $(NET_LD)

$(B)/mayfly: $(B)/obj/runner/main.o \
		$(foreach l,$(MAYFLY_LIBS),$(B)/lib$(l).a)
	$(say) LD $@
	$(Q)$(CC) $(PIE) $(LDFLAGS_ALL) -o $@ \
		$(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
		-Wl,--end-group $(MAYFLY_LD)

# --- mayfly-unpack -----------------------------------------------------
# With the libraries of the host, unlike the others: what reads compressed
# tars is to be mended by the host's updates.

UNPACK_LIBS := unpack lock base
UNPACK_LD := -larchive -lnettle

$(B)/mayfly-unpack: $(B)/obj/runner/unpack/main.o \
		$(foreach l,$(UNPACK_LIBS),$(B)/lib$(l).a)
	$(say) LD $@
	$(Q)$(CC) -pie $(LDFLAGS_ALL) -o $@ \
		$(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
		-Wl,--end-group $(UNPACK_LD)

# --- mayfly-net --------------------------------------------------------
# Keeper and DNS forwarder of a network. Static, as mayfly-vmm is: it meets
# what strangers send.

NET_LIBS := net jail lock base

$(B)/mayfly-net: $(patsubst %,$(B)/obj/runner/net/%.o,main confine) \
		$(foreach l,$(NET_LIBS),$(B)/lib$(l).a)
	$(say) LD $@
	$(Q)$(CC) $(PIE) $(LDFLAGS_ALL) -Wl,--gc-sections -o $@ \
		$(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
		-Wl,--end-group $(NET_LD) -lcap

# --- install -----------------------------------------------------------
# The order below lib/mayfly is that of $(B): runner/artifact.c. Completions
# and manual pages go where shells and man look below PREFIX.

SHARE = $(PREFIX)/share
BASHDIR ?= $(SHARE)/bash-completion/completions
ZSHDIR  ?= $(SHARE)/zsh/site-functions
FISHDIR ?= $(SHARE)/fish/vendor_completions.d
MANDIR  ?= $(SHARE)/man/man1
LIBDIR  := lib/mayfly
PROGRAMS = $(addprefix $(B)/,mayfly mayfly-vmm mayfly-unpack mayfly-net)
MAN     := $(notdir $(wildcard man/*.1))

.PHONY: install uninstall
#: install        to PREFIX (/usr/local), below DESTDIR
install: $(PRODUCT)
	$(Q)! grep -q MAYFLY_FAULT $(PROGRAMS) || \
		{ echo 'install: $(B) was built with FAULTS=1, for tests' >&2; \
		exit 1; }
	$(Q)! grep -qE '__(asan|tsan|ubsan)_' $(PROGRAMS) || \
		{ echo 'install: $(B) was built with SAN, for tests' >&2; \
		exit 1; }
	$(say) INSTALL $(DESTDIR)$(PREFIX)
	$(Q)install -d $(addprefix $(DESTDIR),$(PREFIX)/bin \
		$(PREFIX)/$(LIBDIR)/guest $(BASHDIR) $(ZSHDIR) $(FISHDIR) \
		$(MANDIR))
	$(Q)install -m 755 $(B)/mayfly $(DESTDIR)$(PREFIX)/bin/mayfly
	$(Q)install -m 755 $(B)/mayfly-vmm $(B)/mayfly-unpack $(B)/mayfly-net \
		$(DESTDIR)$(PREFIX)/$(LIBDIR)
	$(Q)install -m 644 $(GUEST_FILES:%=$(B)/guest/%) \
		$(DESTDIR)$(PREFIX)/$(LIBDIR)/guest
	$(Q)install -m 644 $(MAN:%=man/%) $(DESTDIR)$(MANDIR)
	$(Q)umask 022 && m=$(abspath $(B))/mayfly && \
		$$m completion bash >$(DESTDIR)$(BASHDIR)/mayfly && \
		$$m completion zsh >$(DESTDIR)$(ZSHDIR)/_mayfly && \
		$$m completion fish >$(DESTDIR)$(FISHDIR)/mayfly.fish

#: uninstall      what install has put there
uninstall:
	$(say) REMOVE $(DESTDIR)$(PREFIX)
	$(Q)rm -f $(addprefix $(DESTDIR),$(PREFIX)/bin/mayfly \
		$(BASHDIR)/mayfly $(ZSHDIR)/_mayfly $(FISHDIR)/mayfly.fish \
		$(MAN:%=$(MANDIR)/%))
	$(Q)rm -rf $(DESTDIR)$(PREFIX)/$(LIBDIR)

# --- packages ----------------------------------------------------------
# The same commit gives the same bytes.

.PHONY: dist deb check-package
DIST ?= HEAD
#: dist           the source of HEAD (DIST) as $(B)/mayfly-VERSION.tar.xz
dist:
	$(say) DIST $(B)/mayfly-$(VERSION).tar.xz
	$(Q)mkdir -p $(B)
	$(Q)git archive --prefix=mayfly-$(VERSION)/ $(DIST) | \
		xz -T1 -9 >$(B)/mayfly-$(VERSION).tar.xz

#: deb            a Debian package, kernel and images in it, below $(B)
deb: $(PRODUCT)
	$(Q)MAKE='$(MAKE)' packaging/deb.sh $(B) $(VERSION)

#: check-package  builds, lints, installs and removes that package
check-package: deb
	$(Q)tools/deps.sh package
	$(Q)$(CHECK) $(B) package

# --- guest -------------------------------------------------------------
# The agent and its initramfs; the disk images, which live in the cache. Few
# and dense pages: each one costs the guest a fault on its way to the command.

AGENT_CFLAGS := $(STD) -Os -ffunction-sections -fno-pie $(WARN) \
	-fno-asynchronous-unwind-tables \
	-idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu
AGENT_LDFLAGS := -static -no-pie -s -Wl,--gc-sections,--build-id=none \
	-Wl,-z,noseparate-code,-z,norelro,-z,noexecstack
AGENT_OBJ := $(patsubst %.c,$(B)/guest/obj/%.o,rootfs/agent/main.c \
	$(AGENT_SRC) $(WIRE_SRC))

$(B)/guest/obj/%.o: %.c
	$(say) MUSL $<
	@mkdir -p $(@D)
	$(Q)$(MUSLCC) $(AGENT_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/guest/mayfly-agent: $(AGENT_OBJ)
	$(say) LD $@
	$(Q)$(MUSLCC) $(AGENT_LDFLAGS) -o $@ $^

$(B)/mkinitramfs: $(B)/obj/rootfs/mkinitramfs.o $(B)/libbase.a
	$(say) LD $@
	$(Q)$(CC) -pie $(LDFLAGS_ALL) -o $@ $^

$(B)/guest/agent.cpio: $(B)/guest/mayfly-agent $(B)/mkinitramfs
	$(say) CPIO $@
	$(Q)$(B)/mkinitramfs $< $@

$(B)/guest/base.img $(B)/guest/scratch.img: $(B)/guest/%.img: \
		rootfs/base/build.sh $(wildcard rootfs/base/etc/*)
	$(say) IMG $@
	$(Q)rootfs/base/build.sh $* $@ $(B)/mkscratch
$(B)/guest/scratch.img: $(B)/mkscratch

$(B)/mkscratch: $(B)/obj/runner/mkscratch.o $(B)/obj/runner/scratch_pack.o \
		$(B)/obj/runner/scratch_make.o $(B)/libbase.a
	$(say) LD $@
	$(Q)$(CC) -pie $(LDFLAGS_ALL) -o $@ $^

$(B)/guest/scratch.pack: $(B)/guest/scratch.img $(B)/mkscratch
	$(say) PACK $@
	$(Q)$(B)/mkscratch pack $< $@

$(B)/guest/vmlinux: kernel-config/build.sh $(addprefix kernel-config/,\
		base.config x86_64.config)
	$(say) KERNEL $@
	$(Q)kernel-config/build.sh $@

# --- unit tests --------------------------------------------------------
# tests/unit/NAME.c is one Criterion program; NAME_LIBS says what it links.

UNIT := base
UNIT_LIBS_base := base
UNIT += gmem bus ctl boot acpi serial rtc cpuid vm
UNIT_LIBS_vm := vmm virtio engine soft base
$(foreach t,gmem bus ctl boot acpi serial rtc cpuid,\
	$(eval UNIT_LIBS_$(t) := vmm base))

VIRTIO_UNIT := virtqueue virtio_mmio virtio_blk virtio_vsock virtio_vsock_dial \
	virtio_vsock_threads virtio_rng disk limiter \
	virtio_blk_limit virtio_blk_serve virtio_net virtio_net_frame virtio_net_tap
UNIT += $(VIRTIO_UNIT)
$(foreach t,$(VIRTIO_UNIT),$(eval UNIT_LIBS_$(t) := virtio vmm base))

LAUNCHER_UNIT := format_record state state_broken journal control detach \
	log_view opts config jail console scratch sink terminal verdict_meta \
	run_session run_control run_copies run_copies_out session config_env config_copy
LAUNCHER_UNIT += config_disk config_image config_net pasta config_publish publish drive
LAUNCHER_UNIT += trace doctor cgroup cgroup_map cgroup_host confine
LAUNCHER_UNIT += cp_host jail_report run_limits cputime meta_isolate image_words
UNIT += $(LAUNCHER_UNIT)
$(foreach t,$(LAUNCHER_UNIT),$(eval UNIT_LIBS_$(t) := $(MAYFLY_LIBS)) \
	$(eval UNIT_LD_$(t) := $(MAYFLY_LD)))

UNIT += net_lease net_taken net_host
UNIT_LIBS_net_lease := net base
UNIT_LIBS_net_taken := net base
UNIT_LIBS_net_host := net base
UNIT_LD_net_host = $(NET_LD) -ljansson
UNIT += dns dns_answer forward forward_guest forward_lies forward_setup forward_program \
	forward_stream dial
$(foreach t,dns dns_answer forward forward_guest forward_lies forward_setup \
	forward_program forward_stream dial,\
	$(eval UNIT_LIBS_$(t) := net base))
KEEP_UNIT := net_learn net_nl net_keep net_keep_end net_keep_hold
UNIT += $(KEEP_UNIT)
$(foreach t,$(KEEP_UNIT),$(eval UNIT_LIBS_$(t) := net base) \
	$(eval UNIT_LD_$(t) := $(NET_LD)))
UNIT += net_rule net_plan net_fence net_fence_frames net_fence_host
$(foreach t,net_rule net_plan net_fence net_fence_frames net_fence_host,\
	$(eval UNIT_LIBS_$(t) := net base) $(eval UNIT_LD_$(t) := $(NET_LD)))
UNIT += wire tree tree_pack agent_parts agent_session agent_more agent_limit agent_mount \
	agent_net agent_dial
$(foreach t,wire tree tree_pack,$(eval UNIT_LIBS_$(t) := wire))
$(foreach t,agent_parts agent_session agent_more agent_limit agent_mount \
	agent_net agent_dial,\
	$(eval UNIT_LIBS_$(t) := agent wire))

UNIT += merge merge_model erofs
UNIT_LIBS_merge := unpack base
UNIT_LIBS_merge_model := unpack base
UNIT_LIBS_erofs := unpack base

IMAGE_UNIT := reference oci store store_hurt
UNIT += $(IMAGE_UNIT)
$(foreach t,$(IMAGE_UNIT),$(eval UNIT_LIBS_$(t) := image base) \
	$(eval UNIT_LD_$(t) := -ljansson))

SOFT_UNIT := except lapic string_ops
UNIT += $(SOFT_UNIT)
$(foreach t,$(SOFT_UNIT),$(eval UNIT_LIBS_$(t) := soft base))

UNIT += landlock seccomp vmm
UNIT_LIBS_landlock := lock
UNIT_LIBS_seccomp := lock
UNIT_LIBS_vmm := vmm base

UNIT += probe engine_kvm
UNIT_LIBS_probe := engine base
UNIT_LIBS_engine_kvm := engine vmm base

UNIT += decode
UNIT_LIBS_decode := soft
UNIT_LD_decode := -lZydis
UNIT += native soft_engine soft_fuzz soft_stack xlate
$(foreach t,native soft_engine soft_fuzz soft_stack xlate,\
	$(eval UNIT_LIBS_$(t) := soft engine vmm base))

UNIT_LONG := diff_forms diff_blocks
UNIT += diff_forms diff_blocks
$(foreach t,diff_forms diff_blocks,$(eval UNIT_LD_$(t) := -lZydis) \
	$(eval UNIT_LIBS_$(t) := diff soft engine vmm base))

UNPACK_UNIT := layer untar untar_bad unarchive packdir unpack
UNIT += $(UNPACK_UNIT)
$(foreach t,$(UNPACK_UNIT),$(eval UNIT_LIBS_$(t) := $(UNPACK_LIBS)) \
	$(eval UNIT_LD_$(t) := $(UNPACK_LD)))

unit_bin = $(B)/tests/unit/$(1)
define unit_rule
$(B)/tests/unit/$(1): $(B)/obj/tests/unit/$(1).o \
		$$(foreach l,$$(UNIT_LIBS_$(1)),$(B)/lib$$(l).a)
	$$(say) LD $$@
	@mkdir -p $$(@D)
	$$(Q)$$(CC) -pie $$(LDFLAGS_ALL) -o $$@ $$(filter %.o,$$^) \
		-Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group \
		-lcriterion $$(UNIT_LD_$(1)) -lpthread -lm
endef
$(foreach t,$(UNIT),$(eval $(call unit_rule,$(t))))
# They start the real ones.
$(B)/tests/unit/vmm: $(B)/mayfly-vmm
$(B)/tests/unit/unpack: $(B)/mayfly-unpack
$(B)/tests/unit/forward_program: $(B)/mayfly-net
$(B)/tests/unit/net_keep: $(B)/mayfly-net
$(B)/tests/unit/net_keep_end: $(B)/mayfly-net $(B)/tests/keep-run

# --- bare-metal payloads -----------------------------------------------
# Each tests/guest/NAME.c below is a guest of its own; guest-run runs them on
# an engine, or on QEMU for a third opinion. Kernel-mode code: no red zone, no
# vector registers, nothing relocated.

GUEST := boot paging traps lapic ioapic hlt smc io syscall msr cpu string \
	compat debug segment align transfer tables control window
GUEST_CFLAGS := -std=c11 -D_GNU_SOURCE -I. -O1 -g -ffreestanding -fno-builtin \
	-fno-pic -mno-red-zone -mgeneral-regs-only -fno-stack-protector \
	-fno-asynchronous-unwind-tables -fcf-protection=none $(WARN)
GUEST_LIB := $(B)/payload/obj/start.o $(B)/payload/obj/lib.o
GUEST_BIN := $(addprefix $(B)/payload/,$(GUEST))

$(B)/payload/obj/%.o: tests/guest/%.c
	$(say) GUESTCC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/payload/obj/%.o: tests/guest/%.S
	$(say) GUESTAS $<
	@mkdir -p $(@D)
	$(Q)$(CC) -I. -MMD -MP -c -o $@ $<

$(B)/payload/%: $(B)/payload/obj/%.o $(GUEST_LIB) tests/guest/payload.lds
	$(say) GUESTLD $@
	@mkdir -p $(@D)
	$(Q)$(CC) -static -no-pie -nostdlib -Wl,--build-id=none \
		-Wl,-z,max-page-size=4096 -Wl,-z,noexecstack \
		-Wl,--no-warn-rwx-segments -T tests/guest/payload.lds \
		-o $@ $(filter %.o,$^)
.SECONDARY: $(GUEST:%=$(B)/payload/obj/%.o) $(GUEST_LIB)

GUEST_RUN_OBJ := $(B)/obj/tests/guest/run.o $(B)/obj/tests/guest/vm.o
$(B)/tests/guest-run: $(GUEST_RUN_OBJ) \
		$(foreach l,engine soft vmm base,$(B)/lib$(l).a)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(PIE) $(LDFLAGS_ALL) -o $@ \
		$(GUEST_RUN_OBJ) -Wl,--start-group $(filter %.a,$^) \
		-Wl,--end-group -lpthread -lm

# attack-run meets mayfly-vmm with payloads that attack its devices, each one
# tests/guest/attack_NAME.c with the driver in attack_lib.c.
ATTACK := mmio ring blk disk format vsock net serial race log
ATTACK_BIN := $(ATTACK:%=$(B)/payload/attack_%)
$(ATTACK_BIN): $(B)/payload/obj/attack_lib.o
.SECONDARY: $(ATTACK:%=$(B)/payload/obj/attack_%.o) \
	$(B)/payload/obj/attack_lib.o

$(B)/tests/attack-run: $(B)/obj/tests/guest/attack_run.o \
		$(B)/obj/tests/guest/attack_disks.o \
		$(B)/obj/tests/guest/attack_tap.o \
		$(foreach l,vmm base,$(B)/lib$(l).a)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(PIE) $(LDFLAGS_ALL) -o $@ $^

# A program that a test of cp and exec takes into its guest.
$(B)/tests/knock: tests/system/knock.c
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(STD) -O1 $(WARN) -static -o $@ $<

# A launcher of networks alone, for tests/unit/net_keep_end.c.
$(B)/tests/keep-run: $(B)/obj/tests/system/keep_run.o $(B)/libnet.a $(B)/libbase.a
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(PIE) $(LDFLAGS_ALL) -o $@ $^ $(NET_LD)

# What writes to a disk and knows what should be there: tests/system/drive.sh.
$(B)/tests/scribble: tests/system/scribble.c
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(STD) -O1 $(WARN) -static -o $@ $<

# A launcher's steps on its host, one at a time: tests/system/net_host.sh, net_look.sh.
$(B)/tests/net-host: $(B)/obj/tests/system/net_host.o $(B)/libnet.a $(B)/libbase.a
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(PIE) $(LDFLAGS_ALL) -o $@ $^ $(NET_LD) -ljansson

# What asks and answers in networks, and root who makes frames of its own:
# tests/system/net.sh.
NET_TOOLS := $(addprefix $(B)/tests/net-,probe frames)
$(B)/tests/net-%: tests/system/net_%.c
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(STD) -O1 $(WARN) -static -o $@ $<

# A mayfly-unpack that was taken over, for tests/system/image_errors.sh.
$(B)/tests/unpack-liar: tests/system/unpack_liar.c rootfs/unpack.h
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(STD) -D_GNU_SOURCE -I. -O1 $(WARN) -static -o $@ $<

# A host that lacks something, for tests/system/jail.sh.
$(B)/tests/deny: tests/system/deny.c
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(STD) -O1 $(WARN) -static -o $@ $<

# Who wants out of the jail, and the jailer: tests/jail. Static, for they run
# inside an empty root, and on hosts that have no libc.
JAIL_TEST := $(addprefix $(B)/tests/jail-,probe run as)
JAIL_TABLES := $(patsubst %,$(B)/obj/tests/jail/%.o,tables paths fds others rights)

$(B)/tests/jail-probe: $(JAIL_TABLES) $(patsubst %,$(B)/obj/tests/jail/%.o,\
		probe sweep) $(foreach l,vmm lock base,$(B)/lib$(l).a)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(PIE) $(LDFLAGS_ALL) -o $@ $^ -lpthread

$(B)/tests/jail-run: $(JAIL_TABLES) $(patsubst %,$(B)/obj/tests/jail/%.o,\
		run host start death sweep_kept) \
		$(foreach l,$(MAYFLY_LIBS),$(B)/lib$(l).a)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(PIE) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) \
		-Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(MAYFLY_LD)

$(B)/tests/jail-as: $(B)/obj/tests/jail/as.o
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(PIE) $(LDFLAGS_ALL) -o $@ $^

# Root in the guest that lies, for tests/system/liar.sh.
LIAR_SRC := $(addprefix tests/system/liar/,main.c agent.c frames.c serve.c \
	machine.c)
$(B)/tests/liar: $(LIAR_SRC) tests/system/liar/liar.h rootfs/wire.h rootfs/tree.h
	$(say) MUSL $@
	@mkdir -p $(@D)
	$(Q)$(MUSLCC) $(STD) -O1 $(WARN) -static -s -o $@ $(LIAR_SRC) \
		-idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu

# A VMM that a guest has taken over, for the same.
$(B)/tests/liar-vmm: tests/system/liar/vmm.c rootfs/wire.h runner/vmm/ctl.h
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(STD) -O1 $(WARN) -static -o $@ $<

.PHONY: payloads
payloads: $(GUEST_BIN) $(ATTACK_BIN)
ENGINES ?= soft kvm qemu

# --- real KVM ----------------------------------------------------------
# The payloads and the system tests on the kvm engine, inside a machine with
# emulated SVM: tests/kvmhost. `make check` takes the smoke part.

KVMHOST_NEEDS := $(PRODUCT) $(B)/tests/guest-run $(GUEST_BIN) \
	$(B)/tests/attack-run $(ATTACK_BIN) $(B)/tests/pty $(B)/tests/knock \
	$(B)/tests/deny $(B)/tests/liar $(B)/tests/liar-vmm $(JAIL_TEST) \
	$(NET_TOOLS)

.PHONY: check-kvm check-kvm-smoke
#: check-kvm      all system tests on real KVM, in an emulated-SVM machine
check-kvm: $(KVMHOST_NEEDS)
	$(Q)tests/kvmhost/run.sh $(B) all
#: check-kvm-smoke  a few of them, as `check` runs them
check-kvm-smoke: $(KVMHOST_NEEDS)
	$(Q)$(CHECK) $(B) kvmhost

# A typist for the tests of terminals. Static: it runs where there is no libc.
$(B)/tests/pty: tests/system/pty.c
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(STD) -O1 $(WARN) -static -o $@ $<

# --- running tests -----------------------------------------------------
# tests/check.sh runs suites and counts. asan, ubsan and tsan are builds of
# their own; `check` has the first two in one, `check-long` the third.

TSAN_SYSTEM := many_random_bytes_come_back_the_same \
	disk_is_writable_and_the_image_is_not_touched \
	console_of_the_guest_can_be_written \
	signal_is_forwarded_and_is_the_exit_code \
	timeout_prints_what_came_and_is_124 panic_is_a_crash_with_its_console_lines

CHECK = UNIT='$(UNIT)' UNIT_LONG='$(UNIT_LONG)' GUEST='$(GUEST)' \
	ENGINES='$(ENGINES)' SYSTEM='$(SYSTEM)' TSAN_SYSTEM='$(TSAN_SYSTEM)' \
	ATTACK='$(ATTACK)' FUZZ='$(FUZZ)' FUZZ_TIME='$(FUZZ_TIME)' tests/check.sh
CHECK_PROGRAMS := $(UNIT:%=$(B)/tests/unit/%) $(B)/tests/guest-run $(GUEST_BIN) \
	$(B)/tests/pty $(B)/tests/knock $(B)/tests/deny $(B)/tests/liar \
	$(B)/tests/liar-vmm $(B)/tests/scribble $(B)/tests/unpack-liar $(NET_TOOLS) \
	$(B)/tests/attack-run $(ATTACK_BIN) $(if $(SAN),,$(JAIL_TEST)) \
	$(B)/tests/net-host

check-programs: $(CHECK_PROGRAMS)
san-programs:
	$(Q)$(MAKE) $(if $(V),,-s) B=$(B)/san SAN=address,undefined \
		check-programs $(SMALL:$(B)/%=$(B)/san/%)

.PHONY: check-tree check-unit check-guest check-attack check-system check-jail \
	check-docs check-readme
#: check-tree     includes, lengths and licence lines of the sources
check-tree:
	$(Q)$(CHECK) $(B) tree
#: check-unit     unit tests, the CPU compared with the host's among them
check-unit: $(UNIT:%=$(B)/tests/unit/%)
	$(Q)$(CHECK) $(B) unit
#: check-guest    bare-metal payloads on ENGINES (soft kvm qemu)
check-guest: $(B)/tests/guest-run $(GUEST_BIN)
	$(Q)$(CHECK) $(B) guest
#: check-attack   payloads that attack the devices, on ENGINES but QEMU
check-attack: $(B)/mayfly-vmm $(B)/tests/attack-run $(ATTACK_BIN)
	$(Q)$(CHECK) $(B) attack
#: check-system   what a user gets, in real microVMs
check-system: $(PRODUCT) $(B)/tests/pty $(B)/tests/knock $(B)/tests/deny $(B)/tests/liar $(B)/tests/liar-vmm \
		$(B)/tests/scribble $(B)/tests/unpack-liar $(NET_TOOLS)
	$(Q)$(CHECK) $(B) system others
#: check-jail     somebody who wants out, in the jail and in each of its layers
check-jail: $(PRODUCT) $(JAIL_TEST) $(B)/tests/deny
	$(Q)$(CHECK) $(B) jail
.PHONY: check-faults
#: check-faults   a VMM that misbehaves, and SIGKILL, at every stage
check-faults: $(PRODUCT)
	$(Q)$(MAKE) $(SUB) B=$(B)/faults FAULTS=1 all
	$(Q)$(CHECK) $(B) faults
#: check-docs     completion and manual pages against the option tables
check-docs: $(PRODUCT)
	$(Q)$(CHECK) $(B) docs
#: check-readme   the README's examples print what it says
check-readme: $(PRODUCT)
	$(Q)$(CHECK) $(B) readme

.PHONY: asan ubsan tsan
#: asan ubsan     unit tests, payloads and system tests under a sanitizer
asan ubsan:
	$(Q)$(MAKE) $(SUB) B=$(B)/$@ SAN=$(if $(filter asan,$@),address,undefined) \
		all check-programs
	$(Q)RUNS=3 MEGABYTES=5 $(CHECK) $(B)/$@ unit guest system
#: tsan           payloads, and system tests that keep all threads busy
tsan:
	$(Q)$(MAKE) $(SUB) B=$(B)/$@ SAN=thread all $(B)/$@/tests/guest-run \
		$(B)/$@/tests/attack-run $(NET_TOOLS:$(B)/%=$(B)/$@/%) payloads
	$(Q)$(CHECK) $(B) tsan
asan ubsan: ENGINES = soft

# --- fuzzing -----------------------------------------------------------
# tests/fuzz/NAME.c is one libFuzzer target; NAME_LIBS says what it links. The
# libraries are built once more, by clang with its sanitizers, below $(B)/fuzz.

FUZZ := queue mmio blk overlay vsock net serial wire relay tree kernel config env meta record \
	journal session console ctl decode user
$(foreach t,queue mmio blk overlay vsock net,$(eval FUZZ_LIBS_$(t) := virtio vmm base))
FUZZ += merge layer untar
$(foreach t,merge layer untar,$(eval FUZZ_LIBS_$(t) := unpack base))
FUZZ_LD_untar := $(UNPACK_LD)
FUZZ += allow learn
$(foreach t,allow learn,$(eval FUZZ_LIBS_$(t) := net base))
FUZZ += manifest reference
$(foreach t,manifest reference,$(eval FUZZ_LIBS_$(t) := image base))
FUZZ += dns forward
$(foreach t,dns forward,$(eval FUZZ_LIBS_$(t) := net base))
FUZZ_LIBS_serial := vmm base
FUZZ_LIBS_wire := wire
FUZZ_LIBS_relay := wire
FUZZ_LIBS_kernel := vmm base
FUZZ_LIBS_tree := wire
$(foreach t,config env meta record journal session console ctl,\
	$(eval FUZZ_LIBS_$(t) := $(MAYFLY_LIBS)))
FUZZ_LIBS_decode := soft
FUZZ_LIBS_user := agent wire
FUZZ_TIME ?= 60

define fuzz_rule
$(B)/tests/fuzz/$(1): $(B)/obj/tests/fuzz/$(1).o \
		$$(foreach l,$$(FUZZ_LIBS_$(1)),$(B)/lib$$(l).a)
	$$(say) LD $$@
	@mkdir -p $$(@D)
	$$(Q)$$(CC) -fsanitize=fuzzer -pie $$(LDFLAGS_ALL) -o $$@ \
		$$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) \
		-Wl,--end-group $(MAYFLY_LD) $$(FUZZ_LD_$(1)) -lpthread -lm
endef
$(foreach t,$(FUZZ),$(eval $(call fuzz_rule,$(t))))

.PHONY: fuzz fuzz-smoke fuzz-programs fuzz-build
fuzz-programs: $(FUZZ:%=$(B)/tests/fuzz/%)
# gcc's warnings are the ones that count: clang only builds this here.
fuzz-build:
	$(Q)$(MAKE) $(if $(V),,-s) B=$(B)/fuzz CC=clang WERROR= CFLAGS=-w \
		SAN=address,undefined,fuzzer-no-link fuzz-programs
#: fuzz           fuzz targets, FUZZ_TIME (60) seconds each; FUZZ names some
fuzz: fuzz-build
	$(Q)$(CHECK) $(B) fuzz
#: fuzz-smoke     a few thousand runs of each, as `check` does
fuzz-smoke: fuzz-build
	$(Q)$(CHECK) $(B) fuzz-smoke

# --- reading the source ------------------------------------------------

# The product only: tests are made of macros that these two do not know.
PRODUCT_SRC := $(filter-out tests/%,$(foreach l,$(LIBS),$($(l)_SRC))) \
	runner/main.c runner/vmm/main.c runner/unpack/main.c runner/net/main.c \
	runner/net/confine.c rootfs/agent/main.c rootfs/mkinitramfs.c
PRODUCT_C := $(sort $(filter %.c,$(PRODUCT_SRC)))

.PHONY: tidy cppcheck format-check lint-deps
lint-deps:
	$(Q)tools/deps.sh lint
#: tidy           clang-tidy
tidy: lint-deps compile_commands.json
	$(Q)printf '%s\n' $(PRODUCT_C) | \
		xargs -n 4 -P $$(nproc) clang-tidy --quiet -p .
# It reads no system headers, does not know that cpu_raise() never returns nor
# who fills a structure elsewhere, and loses its way in tables made by macros.
CPPCHECK_BLIND := missingInclude unknownMacro uninitStructMember ctuuninitvar \
	zerodivcond arrayIndexOutOfBoundsCond shiftTooManyBitsSigned \
	syntaxError:runner/engine/soft/decode_table.h
#: cppcheck       cppcheck
cppcheck: lint-deps
	$(Q)cppcheck --quiet --std=c11 --platform=unix64 -I. -D_GNU_SOURCE \
		-D__x86_64__ '-DMAYFLY_VERSION="$(VERSION)"' \
		--enable=warning,performance,portability --inline-suppr \
		$(CPPCHECK_BLIND:%=--suppress=%) --error-exitcode=1 $(PRODUCT_C)
#: format-check   what check-tree says; .clang-format is a starting point
format-check: check-tree

#: compile_commands.json  for editors and clang-tidy
compile_commands.json: Makefile
	$(say) GEN $@
	$(Q)$(MAKE) -nB V=1 $(B)/mayfly $(B)/mayfly-vmm \
		$(B)/mayfly-unpack $(B)/mayfly-net $(B)/guest/mayfly-agent check-programs | \
		tools/compile-commands.sh >$@

# --- bench -------------------------------------------------------------
# Comparisons with QEMU in one run: tests/bench/bench.py. BENCH names sections
# (all of them without), BENCH_N how many pairs each takes.

BENCH_DIR := $(B)/bench
BENCH_TOOLS := $(addprefix $(BENCH_DIR)/,race launch jail jailed speed out \
	exits.soft exits.kvm poll frames init.cpio speed.img)

$(BENCH_DIR)/race: tests/bench/race.c
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(STD) -O2 $(WARN) -static -o $@ $<

$(BENCH_DIR)/launch: $(B)/obj/tests/bench/launch.o \
		$(foreach l,$(MAYFLY_LIBS),$(B)/lib$(l).a)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(PIE) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) \
		-Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(MAYFLY_LD)

$(BENCH_DIR)/jail: $(B)/obj/tests/bench/jail.o $(B)/libjail.a $(B)/libbase.a
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(PIE) $(LDFLAGS_ALL) -o $@ $^ -lcap

$(BENCH_DIR)/jailed: $(B)/obj/tests/bench/jailed.o $(B)/liblock.a
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(PIE) $(LDFLAGS_ALL) -o $@ $^

$(BENCH_DIR)/speed: tests/bench/speed.c
	$(say) MUSL $@
	@mkdir -p $(@D)
	$(Q)$(MUSLCC) -std=c11 -D_GNU_SOURCE -O2 $(WARN) -static -s -o $@ $<

$(BENCH_DIR)/out: tests/bench/out.S tests/guest/payload.lds
	$(say) GUESTLD $@
	@mkdir -p $(@D)
	$(Q)$(CC) -static -no-pie -nostdlib -Wl,--build-id=none \
		-Wl,-z,max-page-size=4096 -Wl,-z,noexecstack \
		-Wl,--no-warn-rwx-segments -T tests/guest/payload.lds -o $@ $<

# So many that start-up does not count, and no more.
EXITS_soft := 20000000
EXITS_kvm  := 50000

$(BENCH_DIR)/exits.%: tests/bench/exits.S tests/guest/payload.lds
	$(say) GUESTLD $@
	@mkdir -p $(@D)
	$(Q)$(CC) -static -no-pie -nostdlib -Wl,--build-id=none \
		-Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -DEXITS=$(EXITS_$*) \
		-Wl,--no-warn-rwx-segments -T tests/guest/payload.lds -o $@ $<

$(addprefix $(BENCH_DIR)/,poll frames): $(BENCH_DIR)/%: tests/bench/%.c \
		$(GUEST_LIB) tests/guest/payload.lds
	$(say) GUESTLD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(GUEST_CFLAGS) -static -no-pie -nostdlib \
		-Wl,--build-id=none -Wl,-z,max-page-size=4096 \
		-Wl,-z,noexecstack -Wl,--no-warn-rwx-segments \
		-T tests/guest/payload.lds -o $@ $(filter %.c %.o,$^)

$(BENCH_DIR)/init: $(B)/guest/obj/tests/bench/init.o \
		$(filter-out %/main.o,$(AGENT_OBJ))
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(MUSLCC) $(AGENT_LDFLAGS) -o $@ $^

$(BENCH_DIR)/init.cpio: $(BENCH_DIR)/init $(B)/mkinitramfs
	$(say) CPIO $@
	$(Q)$(B)/mkinitramfs $< $@

$(BENCH_DIR)/speed.img: $(BENCH_DIR)/speed
	$(say) IMG $@
	$(Q)rm -rf $@ $@.root && \
		mkdir -p $(addprefix $@.root/,bin dev etc proc root sys tmp) && \
		cp $< $@.root/bin/ && \
		mkfs.erofs --quiet --all-root -T0 $@ $@.root && rm -r $@.root

.PHONY: bench
#: bench          comparisons with QEMU; BENCH names sections
bench: $(KVMHOST_NEEDS) $(BENCH_TOOLS)
	$(Q)tools/deps.sh bench
	$(Q)tests/bench/bench.py --build $(B) $(BENCH_N:%=--pairs %) $(BENCH)

-include $(shell find $(B)/obj $(B)/guest/obj $(B)/payload/obj -name '*.d' 2>/dev/null)

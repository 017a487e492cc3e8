################################################################################
#
# stillwatch-agent
#
################################################################################

STILLWATCH_AGENT_VERSION = 0.1.0
ifeq ($(BR2_PACKAGE_STILLWATCH_AGENT_RELEASE),y)
STILLWATCH_AGENT_SOURCE = stillwatch-$(STILLWATCH_AGENT_VERSION).tar.gz
STILLWATCH_AGENT_SITE = $(call qstrip,$(BR2_PACKAGE_STILLWATCH_AGENT_SITE))
else
STILLWATCH_AGENT_SITE = $(BR2_EXTERNAL_STILLWATCH_PATH)/..
STILLWATCH_AGENT_SITE_METHOD = local
STILLWATCH_AGENT_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = \
	--exclude /target --exclude /fuzz/target --exclude /dist --exclude /output
endif
STILLWATCH_AGENT_LICENSE = MIT
STILLWATCH_AGENT_LICENSE_FILES = LICENSE

# The crate v4l makes its bindings with libclang, turbojpeg builds libjpeg-turbo with CMake.
STILLWATCH_AGENT_DEPENDENCIES = host-clang $(BR2_CMAKE_HOST_DEPENDENCY)
# Wherever the one who calls make lets cargo build otherwise.
STILLWATCH_AGENT_CARGO_ENV = \
	CARGO_TARGET_DIR="$(@D)/target" \
	CMAKE="$(BR2_CMAKE)" \
	LIBCLANG_PATH="$(HOST_DIR)/lib" \
	BINDGEN_EXTRA_CLANG_ARGS="--target=$(GNU_TARGET_NAME) --sysroot=$(STAGING_DIR)"

STILLWATCH_AGENT_PROGRAMS = agent healer provision updater
# Buildroot 2026.02 has Rust 1.88. The one crate that asks for more (tokio-websockets: 1.89) does so for x86's sake.
STILLWATCH_AGENT_CARGO_BUILD_OPTS = \
	--ignore-rust-version \
	$(STILLWATCH_AGENT_PROGRAMS:%=--package stillwatch-%)

# Buildroot vendors the crates of what it downloads, and this finds them; those of a local tree are fetched.
define STILLWATCH_AGENT_FETCH_CRATES
	cd $(@D) && $(TARGET_MAKE_ENV) $(PKG_CARGO_ENV) cargo fetch --locked
endef
STILLWATCH_AGENT_PRE_BUILD_HOOKS += STILLWATCH_AGENT_FETCH_CRATES

# `cargo install` knows nothing of units, and takes no workspace.
define STILLWATCH_AGENT_INSTALL_TARGET_CMDS
	$(@D)/systemd/install $(TARGET_DIR) \
		$(@D)/target/$(RUSTC_TARGET_NAME)/$(if $(BR2_ENABLE_DEBUG),debug,release) \
		$(STILLWATCH_AGENT_PROGRAMS)
endef

# As systemd/stillwatch-agent.sysusers has them; scripts/buildroot compares.
define STILLWATCH_AGENT_USERS
	stillwatch-agent -1 stillwatch-agent -1 * /var/lib/stillwatch-agent - video,gpio Stillwatch camera agent
	stillwatch-setup -1 stillwatch-setup -1 * - - - Stillwatch setup page
endef

define STILLWATCH_AGENT_PERMISSIONS
	/var/lib/stillwatch-agent d 0750 stillwatch-agent stillwatch-agent - - - - -
endef

$(eval $(cargo-package))

# shellcheck shell=bash
# A Rust toolchain for amd64 that also holds the arm64 standard library, and the source to build one for
# other machines from, made of Debian's own packages. Sourced by scripts/cross, which names the result by this file's checksum: whatever is
# changed here makes a new toolchain. Uses its say, die, as_root and install_missing.

# What the build needs from the machine itself. gcc and make are for build scripts and cmake.
# shellcheck disable=SC2034 # scripts/cross installs them
readonly HOST_PACKAGES=(
    binutils ca-certificates cmake debian-archive-keyring gcc libc6-dev make patchelf
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    libclang-dev     # bindgen, for the V4L2 structs
    qemu-user-static # runs what was built
)

# toolchain_make DIR WORK: DIR must not exist; WORK is an empty directory to work in.
toolchain_make() {
    local dir=$1 work=$2 version
    toolchain_apt_root "$work/apt"
    version=$(toolchain_version)
    say "toolchain: fetching Debian's rustc-web $version with the arm64 standard library"
    toolchain_fetch "$version" "$work/debs"
    toolchain_lay_out "$work" "$dir"
    # shellcheck disable=SC2046 # a list of names
    install_missing $(<"$dir/packages")
    toolchain_try "$dir" "$work"
}

# An apt root of our own, for both architectures. Adding arm64 to the machine's apt would have
# every one of its sources asked for arm64 indices, which not every mirror has.
toolchain_apt_root() {
    local root=$1 sources
    mkdir -p "$root/lists/partial" "$root/cache/archives/partial" "$root/state"
    : >"$root/status"
    sources=$(toolchain_sources)
    if [[ -z $sources ]]; then
        as_root apt-get update -qq || true
        sources=$(toolchain_sources)
    fi
    [[ -n $sources ]] || die "apt knows no source of Debian $CODENAME here (apt-get update)"
    echo "$sources" >"$root/sources.list"
    apt_root=(
        -o "Dir::Etc::SourceList=$root/sources.list"
        -o "Dir::Etc::SourceParts=/dev/null"
        -o "Dir::State=$root/state"
        -o "Dir::State::Lists=$root/lists"
        -o "Dir::State::Status=$root/status"
        -o "Dir::Cache=$root/cache"
        -o "APT::Architectures=amd64,arm64"
        -o "APT::Sandbox::User=" # it may not be allowed into our directory
    )
    apt-get "${apt_root[@]}" update -qq
}

# The archives that this machine's apt already uses, as lines of a sources.list.
toolchain_sources() {
    local options="arch=amd64,arm64 target=Packages"
    options+=" signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
    apt-get indextargets --format "deb [$options] \$(REPO_URI) \$(RELEASE) \$(COMPONENT)" \
        'Created-By: Packages' 'Origin: Debian' 'Component: main' |
        { grep -E " $CODENAME(-security|-updates)? main$" || true; } | sort -u
}

# Prints the newest version. A standard library of any other version would not link.
toolchain_version() {
    local host arm64
    host=$(toolchain_newest rustc-web:amd64)
    arm64=$(toolchain_newest libstd-rust-web-dev:arm64)
    [[ -n $host && -n $arm64 ]] || die "Debian $CODENAME offers no rustc-web here"
    [[ $host == "$arm64" ]] ||
        die "this mirror has rustc-web $host for amd64 but the arm64 standard library $arm64:" \
            "it is between two updates, try again later or use another mirror"
    echo "$host"
}

toolchain_newest() {
    apt-cache "${apt_root[@]}" show "$1" 2>/dev/null | sed -n 's/^Version: //p' |
        sort -V | tail -n 1
}

toolchain_fetch() {
    local version=$1 debs=$2 runtime llvm
    # Their names carry versions of their own.
    runtime=$(toolchain_depends "libstd-rust-web-dev:amd64=$version" |
        grep '^libstd-rust-web-')
    llvm=$(toolchain_depends "$runtime:amd64=$version" | grep '^libllvm')
    mkdir "$debs"
    (
        cd "$debs" || exit
        apt-get "${apt_root[@]}" download -qq \
            "rustc-web:amd64=$version" "cargo-web:amd64=$version" \
            "libstd-rust-web-dev:amd64=$version" "libstd-rust-web-dev:arm64=$version" \
            "$runtime:amd64=$version" "$llvm:amd64" "rust-web-src=$version"
    )
}

toolchain_depends() {
    apt-cache "${apt_root[@]}" show "$1" | sed -n 's/^Depends: //p' | tr ',' '\n' | awk '{print $1}'
}

# Debian spreads a toolchain over /usr; rustc finds its own things in bin/ and lib/ side by side.
toolchain_lay_out() {
    local work=$1 dir=$2 deb file
    for deb in "$work"/debs/*.deb; do
        dpkg -x "$deb" "$work/root"
    done
    mkdir -p "$dir/bin" "$dir/lib"
    mv "$work"/root/usr/bin/{rustc,rustdoc,cargo} "$dir/bin/"
    mv "$work"/root/usr/lib/x86_64-linux-gnu/lib{rustc_driver,LLVM}* "$dir/lib/"
    mv "$work/root/usr/lib/rustlib" "$dir/lib/"
    # For -Zbuild-std: the library's part of the compiler's source.
    rm -rf "$dir/lib/rustlib/src"
    mkdir -p "$dir/lib/rustlib/src/rust"
    mv "$work"/root/usr/src/rustc-*/library "$dir/lib/rustlib/src/rust/"
    for file in "$dir"/bin/{rustc,rustdoc} "$dir"/lib/librustc_driver-*.so; do
        # shellcheck disable=SC2016 # the loader's variable, not the shell's
        patchelf --set-rpath '$ORIGIN/../lib' "$file"
    done
    # The libraries of the machine that these programs load.
    for deb in "$work"/debs/*_amd64.deb; do
        dpkg-deb -f "$deb" Depends | tr ',' '\n' | awk '{print $1}'
    done | grep '^lib' | grep -Ev '^(libc-dev|libllvm.*|libstd-rust-.*)$' | sort -u >"$dir/packages"
}

# Nothing is used that has not built and run a program for both machines.
toolchain_try() {
    local dir=$1 work=$2 answers
    echo 'fn main() { println!("{}", std::env::consts::ARCH); }' >"$work/try.rs"
    "$dir/bin/rustc" -o "$work/try" "$work/try.rs"
    answers=$("$work/try")
    "$dir/bin/rustc" --target aarch64-unknown-linux-gnu -C linker=aarch64-linux-gnu-gcc -o "$work/try" "$work/try.rs"
    answers+=" $(qemu-aarch64-static -L /usr/aarch64-linux-gnu "$work/try")"
    [[ $answers == "x86_64 aarch64" ]] || die "the toolchain built programs for: $answers"
    "$dir/bin/cargo" --version >"$dir/version"
}

# The Debian packages that building and testing need, and how the missing ones get here. Sourced by
# tests/demo and tests/check.

# Exim, OpenSMTPD and Postfix exclude each other as packages, and rspamd would start: these are unpacked
# where they are needed, and only their libraries are installed.
exim_package=exim4-daemon-light
exim_libraries="libdb5.3 libgnutls-dane0 libidn12 libnsl2 libpcre2-8-0"
opensmtpd_libraries="libdb5.3 libevent-2.1-7"
rspamd_libraries="libglib2.0-0 libhyperscan5 libicu72 libluajit-5.1-2 libsodium23 libunwind8"

build_packages="gcc libc6-dev cmake ninja-build pkg-config libevent-dev libssl-dev libconfuse-dev
	libsystemd-dev libsqlite3-dev libidn2-dev libgsasl-dev libjansson-dev libseccomp-dev
	libcmocka-dev"
peer_packages="python3 openssl dovecot-pop3d dovecot-lmtpd dovecot-sieve postfix fetchmail getmail6
	$exim_libraries $opensmtpd_libraries $rspamd_libraries"
test_packages="python3-pytest clang-format-14 patch faketime valgrind mandoc"
# The status page in a browser. npm fetches axe-core; who has one from elsewhere keeps it.
browser_packages="chromium chromium-driver python3-selenium"
command -v npm >/dev/null || browser_packages="$browser_packages npm"
fuzz_packages="clang libclang-rt-dev"
# The Debian package, and a machine to install it on.
system_packages="dpkg-dev file systemd-container mmdebstrap lintian"

missing_packages() {
	local package
	for package; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
			printf '%s ' "$package"
	done
}

# Mail servers that a package starts right after its installation would take this machine's ports
# 25 and 110; the tests start their own. policy-rc.d is Debian's way to say so.
install_quietly() (
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap 'rm -f $policy' EXIT
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" </dev/null
)

need_packages() {
	local missing
	if ! command -v dpkg-query >/dev/null; then
		echo "This is no Debian: these packages' equivalents must be here: $*" >&2
		return 0
	fi
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" != 0 ]; then
		echo "Packages are missing. As root: apt-get install $missing" >&2
		return 1
	fi
	echo "Installing $missing"
	apt-get update -q </dev/null && install_quietly $missing
}

# unpack_package DIRECTORY PACKAGE: its files below DIRECTORY, nothing of it installed or run.
unpack_package() (
	target=$1
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	chmod 755 "$scratch"
	cd "$scratch"
	apt-get download -q -o APT::Sandbox::User=root "$2" </dev/null ||
		{ apt-get update -q </dev/null && apt-get download -q -o APT::Sandbox::User=root "$2" </dev/null; } || exit 1
	dpkg -x "$2"_*.deb root || exit 1
	find root -type f -perm /6000 -exec chmod ug-s {} +
	mkdir -p "$(dirname "$target")"
	# Test programs run side by side: the first one that is ready wins.
	mv -nT root "$target"
)

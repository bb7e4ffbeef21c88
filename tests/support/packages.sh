# The Debian packages that building and testing need, and how the missing ones get here. Sourced by
# tests/demo and tests/check.

build_packages="gcc libc6-dev cmake ninja-build pkg-config libevent-dev libssl-dev libconfuse-dev
	libsystemd-dev libsqlite3-dev libidn2-dev libjansson-dev libcmocka-dev"
peer_packages="python3 openssl dovecot-pop3d dovecot-lmtpd postfix"
test_packages="python3-pytest clang-format-14"

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

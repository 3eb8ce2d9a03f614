# Sourced by the set-up scripts. apt_install PACKAGE succeeds when apt is here, may be used without a password, and has the package.
stop() { echo "$*" >&2; exit 1; }
apt_install() {
    command -v apt-get >/dev/null || return 1
    local get=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        get=(sudo -n "${get[@]}")
    fi
    local install=(install -y --no-install-recommends "$1")
    "${get[@]}" "${install[@]}" >/dev/null 2>&1 || { "${get[@]}" update >/dev/null || true; "${get[@]}" "${install[@]}" >/dev/null; }
}

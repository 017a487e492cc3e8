#!/usr/bin/env bash
# A phone near the guest: the third of mac80211_hwsim's radios, in the network namespace `phone`.
#
#   phone.sh join NAME PASSWORD   joins a network and gets an address; prints what DHCP said
#   phone.sh leave                forgets it
#   phone.sh browse ARGUMENTS…    curl, from there
#   phone.sh look-up NAME         the addresses of a name, by the network's own name server
#
# It is busybox' udhcpc's script, too.
set -euo pipefail

RUN=/run/phone
BUSYBOX=/usr/lib/guest/busybox

within() { ip netns exec phone "$@"; }

device() {
    ip -n phone -oneline link | awk -F ': ' '$2 ~ /^wlan/ { print $2; exit }'
}

leave() {
    local pid
    for pid in "$RUN"/*.pid; do
        [[ ! -e $pid ]] || kill "$(cat "$pid")" 2>/dev/null || true
        rm -f "$pid"
    done
    ip -n phone address flush dev "$(device)"
}

join() {
    local device tries
    mkdir -p "$RUN" /etc/netns/phone
    leave
    device=$(device)
    ip -n phone link set "$device" up
    printf 'ctrl_interface=%s/control\nnetwork={\n ssid="%s"\n psk="%s"\n key_mgmt=WPA-PSK\n proto=RSN\n}\n' \
        "$RUN" "$1" "$2" >"$RUN/supplicant.conf"
    within wpa_supplicant -B -i "$device" -c "$RUN/supplicant.conf" -P "$RUN/supplicant.pid" >/dev/null
    for tries in {1..60}; do
        wpa_cli -p "$RUN/control" -i "$device" status | grep -qx wpa_state=COMPLETED && break
        [[ $tries != 60 ]] || { echo "not let in" && exit 1; }
        sleep 1
    done
    rm -f "$RUN/lease"
    within "$BUSYBOX" udhcpc -i "$device" -n -q -f -t 10 -T 3 -O 114 -s "$0" >&2
    cat "$RUN/lease"
}

# By udhcpc, with what it was told as variables.
bound() {
    local server
    # shellcheck disable=SC2154 # udhcpc's
    ip -n phone address replace "$ip/$mask" dev "$interface"
    for server in ${dns:-}; do printf 'nameserver %s\n' "$server"; done >/etc/netns/phone/resolv.conf
    env | grep -E '^(ip|mask|router|dns|lease|opt114)=' | sort >"$RUN/lease"
}

case $1 in
    join | bound) "$@" ;;
    leave) leave ;;
    browse) shift && within curl --silent --show-error --max-time 40 "$@" ;;
    look-up) within "$BUSYBOX" nslookup -type=a "$2" | awk '/^Name:/ { found = 1 } found && /^Address/ { print $2 }' ;;
    deconfig | leasefail | nak | renew) ;;
    *) exit 2 ;;
esac

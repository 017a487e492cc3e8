#!/usr/bin/env bash
# The other end of the guest's WiFi: an access point in the network namespace `ap`, with the second
# of mac80211_hwsim's radios (a third one is a phone's: phone.sh). The guest's wire (eth0) is in there as
# well, so that wlan0 is the only way from the guest to the machine that runs the test.
#
#   access-point.sh wire        takes eth0 and loads the driver: before the network starts
#   access-point.sh run         does what the others say, for ever: as a service
#   access-point.sh on | off    whether the access point sends
#   access-point.sh key KEY     another key from now on
#   access-point.sh vanish      takes the guest's radio out of its sight, as a chip does that hangs,
#                               until the driver is loaded anew
#
# What was said holds over reboots.
set -euo pipefail

SAID=/var/lib/access-point
RUN=/run/access-point
NET=192.168.77
SSID=stillwatch-test

within() { ip netns exec ap "$@"; }

wire() {
    modprobe mac80211_hwsim
    ip netns add ap
    ip netns add limbo
    ip netns add phone
    [[ ! -e /sys/class/ieee80211/phy2 ]] || iw phy phy2 set netns name phone
    until ip link set eth0 netns ap 2>/dev/null; do sleep 0.1; done
    ip -n ap link set lo up
    ip -n ap link set eth0 up
    # QEMU's network, as its DHCP server would have it.
    ip -n ap address add 10.0.2.15/24 dev eth0
    ip -n ap route add default via 10.0.2.2
    within sysctl --quiet --write net.ipv4.ip_forward=1
    within nft -f - <<<'table ip nat {
        chain postrouting {
            type nat hook postrouting priority srcnat
            oifname eth0 masquerade
        }
    }'
    mkdir -p "$SAID" "$RUN"
}

# The access point's interface, if it has one.
interface() {
    ip -n ap -oneline link | awk -F ': ' '$2 ~ /^wlan/ { print $2; exit }'
}

# Takes the second radio, if both are in the guest's sight: after a boot, or a driver loaded anew.
take_radio() {
    local radios
    mapfile -t radios < <(printf '%s\n' /sys/class/ieee80211/phy* | sort --version-sort)
    if ((${#radios[@]} > 1)); then
        iw phy "$(basename "${radios[1]}")" set netns name ap
    fi
}

serve() {
    local device=$1
    printf '%s\n' "interface=$device" driver=nl80211 "ssid=$SSID" hw_mode=g channel=1 wpa=2 \
        wpa_key_mgmt=WPA-PSK rsn_pairwise=CCMP "wpa_passphrase=$2" >"$RUN/hostapd.conf"
    ip -n ap address replace "$NET.1/24" dev "$device"
    # No ping: most routers at home do not spend 3 s on looking whether an address is free.
    # Not `within`: what is killed later has to be the program, not a shell that runs it.
    ip netns exec ap hostapd "$RUN/hostapd.conf" &
    hostapd=$!
    ip netns exec ap dnsmasq --keep-in-foreground --conf-file=/dev/null --interface="$device" --bind-interfaces \
        --port=0 --no-ping --dhcp-range="$NET.10,$NET.50,2m" --dhcp-option=6,10.0.2.3 --leasefile-ro &
    dnsmasq=$!
}

silence() {
    kill "$hostapd" "$dnsmasq" 2>/dev/null || true
    wait "$hostapd" "$dnsmasq" 2>/dev/null || true
    hostapd='' dnsmasq=''
}

run() {
    local now='' wanted device
    hostapd='' dnsmasq=''
    while true; do
        take_radio
        device=$(interface)
        wanted=
        [[ -z $device || -e $SAID/off ]] || wanted="$device $(cat "$SAID/key")"
        if [[ $wanted != "$now" ]] || { [[ -n $hostapd ]] && ! kill -0 "$hostapd" 2>/dev/null; }; then
            [[ -z $hostapd ]] || silence
            # shellcheck disable=SC2086 # two words
            [[ -z $wanted ]] || serve $wanted
            now=$wanted
        fi
        sleep 0.5
    done
}

case $1 in
    wire | run) "$1" ;;
    on) rm -f "$SAID/off" ;;
    off) touch "$SAID/off" ;;
    key) printf '%s\n' "$2" >"$SAID/key" ;;
    vanish) iw phy "$(basename "$(readlink /sys/class/net/wlan0/phy80211)")" set netns name limbo ;;
    *) exit 2 ;;
esac

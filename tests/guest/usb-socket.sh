#!/usr/bin/env bash
# A USB socket of the guest, for the test bed's camera (testbed::usbcam): whenever there is a camera
# at the other end it is attached, as if a hand had plugged it in. Runs for ever, as a service.
#
#   usb-socket.sh PORT
set -euo pipefail
port=$1
HOST=10.0.2.2
HUB=/sys/devices/platform/vhci_hcd.0/status

modprobe vhci_hcd
while true; do
    # Port, state and device; 004: nothing is in it.
    if ! awk 'NR > 1 && $3 != "004" { used = 1 } END { exit !used }' "$HUB"; then
        # It fails while the camera is pulled out, and while there is no network.
        usbip --tcp-port "$port" attach -r "$HOST" -b 1-1 2>/dev/null || true
    fi
    sleep 0.5
done

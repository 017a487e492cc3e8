//! The camera's real hooks on fake trees of sysfs: what is written, and in which order.

use std::fs;

use runtime::heal::{Outcome, Verb};

use crate::stage::Stage;

const USB: &str = "/sys/bus/usb/devices/1-1.2";
const UVC: &str = "/sys/bus/usb/drivers/uvcvideo";

/// A USB camera with two video interfaces and a microphone. `sleep` shows what is written by then.
fn usb_camera() -> Stage {
    let stage = Stage::new();
    stage.file(&format!("{USB}/authorized"), "1\n");
    for (interface, class) in [("1.0", "0e"), ("1.1", "0e"), ("1.2", "01")] {
        stage.file(&format!("{USB}:{interface}/bInterfaceClass"), &format!("{class}\n"));
        if class == "0e" {
            stage.link(&format!("{USB}:{interface}/driver"), UVC);
        }
    }
    stage.file(&format!("{UVC}/bind"), "");
    stage.file(&format!("{UVC}/unbind"), "");
    stage
}

#[test]
fn camera_usb_is_0_for_a_second_and_then_1() {
    let stage = usb_camera();
    stage.tool(
        "sleep",
        &format!("echo \"authorized $(cat $STAGE{USB}/authorized)\" >>$STAGE/calls"),
    );
    let healer = stage.serve();
    healer.expect(Verb::CameraUsb, Some("1-1.2"), Outcome::Done);
    assert_eq!(stage.calls(), ["sleep 1", "authorized 0"]);
    assert_eq!(stage.read(&format!("{USB}/authorized")), "1\n");
    // Cut off halfway, its interfaces are gone with it: finished by the next one.
    stage.file(&format!("{USB}/authorized"), "0\n");
    for interface in ["1.0", "1.1", "1.2"] {
        fs::remove_dir_all(stage.path(&format!("{USB}:{interface}"))).unwrap();
    }
    healer.expect(Verb::CameraUsb, Some("1-1.2"), Outcome::Done);
    assert_eq!(stage.read(&format!("{USB}/authorized")), "1\n");
    fs::remove_dir_all(stage.path(USB)).unwrap();
    let said = healer.expect(Verb::CameraUsb, Some("1-1.2"), Outcome::Unavailable);
    assert_eq!(said, "there is no USB device 1-1.2 now");
}

#[test]
fn camera_rebind_unbinds_the_video_interfaces_and_binds_them() {
    let stage = usb_camera();
    stage.tool("sleep", &format!("echo \"bound <$(cat $STAGE{UVC}/bind)>\" >>$STAGE/calls"));
    let healer = stage.serve();
    healer.expect(Verb::CameraRebind, Some("1-1.2"), Outcome::Done);
    assert_eq!(stage.calls(), ["sleep 1", "bound <>"]);
    // Each write replaces the one before; the last one is seen.
    for file in ["unbind", "bind"] {
        assert_eq!(stage.read(&format!("{UVC}/{file}")), "1-1.2:1.1\n");
    }
    stage.tool("sleep", "");
    fs::remove_file(stage.path(&format!("{UVC}/bind"))).unwrap();
    let said = healer.expect(Verb::CameraRebind, Some("1-1.2"), Outcome::Unavailable);
    assert_eq!(said, "there is no driver uvcvideo");
}

#[test]
fn camera_rebind_of_the_pis_camera_finishes_what_was_cut_off() {
    let stage = Stage::new();
    let (device, driver) =
        ("/sys/devices/platform/fe801000.csi", "/sys/bus/platform/drivers/unicam");
    for file in ["bind", "unbind"] {
        stage.file(&format!("{driver}/{file}"), "");
    }
    stage.file(&format!("{device}/modalias"), "");
    stage.link(&format!("{device}/driver"), driver);
    stage.file("/sys/class/video4linux/video0/name", "unicam");
    stage.link("/sys/class/video4linux/video0/device", device);
    stage.tool("sleep", &format!("echo \"bound <$(cat $STAGE{driver}/bind)>\" >>$STAGE/calls"));
    let healer = stage.serve();
    healer.expect(Verb::CameraRebind, Some("video0"), Outcome::Done);
    assert_eq!(stage.calls(), ["sleep 1", "bound <>"]);
    for file in ["unbind", "bind"] {
        assert_eq!(stage.read(&format!("{driver}/{file}")), "fe801000.csi\n");
    }
    // Unbound, and then killed: nothing of it is left in sysfs but the device.
    fs::remove_dir_all(stage.path("/sys/class/video4linux/video0")).unwrap();
    fs::remove_file(stage.path(&format!("{device}/driver"))).unwrap();
    stage.file(&format!("{driver}/bind"), "");
    healer.expect(Verb::CameraRebind, Some("video0"), Outcome::Done);
    assert_eq!(stage.read(&format!("{driver}/bind")), "fe801000.csi\n");
}

//! Reading the frame number that the agent's test card shows (`agent/src/sensor/pattern.rs`), off the
//! screen.

#![expect(clippy::unwrap_used, reason = "it is test code, and a panic is how a test fails")]

use std::path::Path;
use std::process::Command;

use testbed::program::Program;

use crate::{PYTHON, of_repository};

/// Off the canvas of the viewer's page: `number`, and `seq`, the frame that the page takes it for;
/// null if there is no card. For pictures that were 360 pixels high.
pub const SHOWN: &str = "(() => {
    const shown = document.querySelector('canvas.picture');
    const { width, height } = shown;
    // In the middle of the code's 16 rows.
    const row = Math.round(height - 8 * height / 360);
    const context = new OffscreenCanvas(width, 1).getContext('2d', { willReadFrequently: true });
    context.drawImage(shown, 0, row, width, 1, 0, 0, width, 1);
    const pixels = context.getImageData(0, 0, width, 1).data;
    const block = (n) => pixels[4 * Math.floor((2 * n + 1) * width / 68)];
    if (block(0) - block(1) < 100) return null;
    let number = 0;
    for (let n = 2; n < 34; n++) {
        number = number * 2 + (block(n) > (block(0) + block(1)) / 2 ? 1 : 0);
    }
    return { number, seq: document.querySelector('.camera').dataset.seq };
})()";

/// Off a picture of the screen that a Chromium of its own takes of a page, into `folder` as `name`:
/// of a card of 640 x 360 pixels at a page's default margin. `when` is the argument that says when
/// it is taken.
///
/// # Panics
/// There is no card.
pub fn on_screenshot(folder: &Path, name: &str, when: &str, url: &str) -> u64 {
    let picture = folder.join(name);
    let mut command = Command::new("chromium");
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
        .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
        .args(["--disable-component-update", "--hide-scrollbars", "--window-size=800,500"])
        .arg(when)
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(url);
    assert!(Program::start("chromium", &mut command).ended().success());
    let mut command = Command::new(PYTHON);
    command.arg(of_repository("tests/tutorial/read_code.py")).arg(&picture);
    let output = command.args(["640", "360"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let number = text.parse::<u64>();
    assert!(number.is_ok(), "{text:?}: {errors}");
    number.unwrap()
}

//! QEMU's monitor: for what only the outside of a machine can do.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// QEMU answers at once, unless it hangs.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Qmp {
    lines: BufReader<UnixStream>,
}

impl Qmp {
    pub(super) fn connect(path: &Path) -> Qmp {
        let stream = UnixStream::connect(path).expect("QEMU listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a time-out above zero");
        let mut qmp = Qmp { lines: BufReader::new(stream) };
        qmp.execute("qmp_capabilities");
        qmp
    }

    pub(super) fn execute(&mut self, command: &str) {
        self.execute_with(command, "{}");
    }

    /// `arguments` is a JSON object.
    pub(super) fn execute_with(&mut self, command: &str, arguments: &str) {
        let line = format!("{{\"execute\": \"{command}\", \"arguments\": {arguments}}}\n");
        self.lines.get_mut().write_all(line.as_bytes()).expect("QEMU reads");
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line);
            assert!(read.is_ok_and(|length| length > 0), "QEMU does not answer {command}");
            assert!(!line.starts_with("{\"error\""), "QEMU refuses {command}: {line}");
            // The greeting and events come in between.
            if line.starts_with("{\"return\"") {
                return;
            }
        }
    }
}

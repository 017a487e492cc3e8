//! Sockets that systemd opened for this process (sd_listen_fds(3)): they outlive it, so nobody who connects while it
//! restarts is refused.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// All of them, each with its name (`FileDescriptorName=` of its unit). To be called once.
///
/// # Errors
/// The variables that say which there are make no sense.
pub fn sockets() -> io::Result<Vec<(OwnedFd, String)>> {
    let passed = sd_notify::listen_fds_with_names()?;
    let own = |(fd, name)| {
        // SAFETY: systemd opened it for this process, and nothing else here takes it.
        #[expect(unsafe_code, reason = "a number from the environment becomes an owned socket")]
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // No program that this one starts should have it.
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        Ok((fd, name))
    };
    passed.map(own).collect()
}

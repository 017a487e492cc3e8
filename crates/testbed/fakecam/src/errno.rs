//! Errors as system calls tell them.

use std::ffi::c_int;

/// An error number, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) c_int);

pub(crate) const EAGAIN: Errno = Errno(libc::EAGAIN);
pub(crate) const EBUSY: Errno = Errno(libc::EBUSY);
pub(crate) const EFAULT: Errno = Errno(libc::EFAULT);
pub(crate) const EINVAL: Errno = Errno(libc::EINVAL);
pub(crate) const EIO: Errno = Errno(libc::EIO);
pub(crate) const EMFILE: Errno = Errno(libc::EMFILE);
pub(crate) const ENODEV: Errno = Errno(libc::ENODEV);
pub(crate) const ENOENT: Errno = Errno(libc::ENOENT);
pub(crate) const ENOMEM: Errno = Errno(libc::ENOMEM);
pub(crate) const ENOTTY: Errno = Errno(libc::ENOTTY);
pub(crate) const ERANGE: Errno = Errno(libc::ERANGE);

impl Errno {
    /// What the last call of this thread failed with.
    pub(crate) fn last() -> Errno {
        Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// Tells the caller of a hook.
    pub(crate) fn set(self) {
        // SAFETY: the C library gives each thread a place for it.
        unsafe { *libc::__errno_location() = self.0 };
    }
}

/// The value a C function returns, with errno set if it failed.
pub(crate) fn returned(result: Result<c_int, Errno>) -> c_int {
    result.unwrap_or_else(|error| {
        error.set();
        -1
    })
}

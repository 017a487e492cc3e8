//! What sysfs says of the device number that `stat` tells: v4l2-ctl reads there what kind of device
//! it has.

use std::ffi::CStr;

use libc::{FILE, c_char};

use crate::real;

const PATH: &CStr = c"/sys/dev/char/81:0/uevent";
const TEXT: &[u8] = b"MAJOR=81\nMINOR=0\nDEVNAME=video0\n";

/// The file, if `path` is its path and a file can be made.
unsafe fn uevent(path: *const c_char) -> Option<*mut FILE> {
    // SAFETY: the caller's path is a C string, as for the real call.
    if path.is_null() || unsafe { CStr::from_ptr(path) } != PATH {
        return None;
    }
    // SAFETY: plain system calls on a new descriptor, which the stream then owns.
    unsafe {
        let fd = libc::memfd_create(c"uevent".as_ptr(), libc::MFD_CLOEXEC);
        libc::write(fd, TEXT.as_ptr().cast(), TEXT.len());
        libc::lseek(fd, 0, libc::SEEK_SET);
        let stream = libc::fdopen(fd, c"r".as_ptr());
        (!stream.is_null()).then_some(stream)
    }
}

/// The C library's `fopen`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE {
    // SAFETY: the caller's arguments, as they came.
    unsafe { uevent(path).unwrap_or_else(|| real::fopen(path, mode)) }
}

/// The C library's `fopen64`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE {
    // SAFETY: the caller's arguments, as they came.
    unsafe { uevent(path).unwrap_or_else(|| real::fopen64(path, mode)) }
}

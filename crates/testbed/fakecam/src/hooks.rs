//! The functions that stand in the C library's place: each decides whether the call is about the
//! camera, and hands it to the C library if not. What a camera does belongs to the other files.

use libc::{c_int, c_long, c_ulong, c_void, mode_t, off_t, size_t};

use crate::fault::{self, Fault};
use crate::{
    cameras, char_ptr, failed, find, ioctl_camera, is_camera, is_ours, mark, open_camera, real,
};

/// The C library's `open`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn open(path: char_ptr, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's arguments, as they came.
    unsafe { open_camera(path, flags).unwrap_or_else(|| real::open(path, flags, mode)) }
}

/// The C library's `open64`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn open64(path: char_ptr, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's arguments, as they came.
    unsafe { open_camera(path, flags).unwrap_or_else(|| real::open64(path, flags, mode)) }
}

/// The C library's `openat`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn openat(
    at: c_int,
    path: char_ptr,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    // SAFETY: the caller's arguments, as they came.
    unsafe { open_camera(path, flags).unwrap_or_else(|| real::openat(at, path, flags, mode)) }
}

/// The C library's `open`, as programs built with `_FORTIFY_SOURCE` call it.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __open_2(path: char_ptr, flags: c_int) -> c_int {
    // SAFETY: the caller's arguments, as they came.
    unsafe { open_camera(path, flags).unwrap_or_else(|| real::__open_2(path, flags)) }
}

/// The C library's `open64`, as programs built with `_FORTIFY_SOURCE` call it.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __open64_2(path: char_ptr, flags: c_int) -> c_int {
    // SAFETY: the caller's arguments, as they came.
    unsafe { open_camera(path, flags).unwrap_or_else(|| real::__open64_2(path, flags)) }
}

/// Whether the path is the camera's, and whether the camera is there.
unsafe fn looked_up(path: char_ptr) -> Option<bool> {
    // SAFETY: the caller's argument, as it came.
    unsafe { is_camera(path) }.then(|| fault::now() != Fault::Unplug)
}

/// The C library's `access`: ustreamer asks before it opens.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn access(path: char_ptr, mode: c_int) -> c_int {
    // SAFETY: the caller's arguments, as they came.
    unsafe {
        match looked_up(path) {
            Some(true) => 0,
            Some(false) => failed(libc::ENOENT),
            None => real::access(path, mode),
        }
    }
}

/// The C library's `stat`: v4l2-ctl wants a character device.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn stat(path: char_ptr, found: *mut libc::stat) -> c_int {
    // SAFETY: the caller's arguments, as they came; the structure is its own.
    unsafe {
        match looked_up(path) {
            Some(true) => {
                *found = std::mem::zeroed();
                (*found).st_mode = libc::S_IFCHR | 0o660;
                // Video4Linux's major number (the kernel's devices.txt).
                (*found).st_rdev = libc::makedev(81, 0);
                0
            }
            Some(false) => failed(libc::ENOENT),
            None => real::stat(path, found),
        }
    }
}

/// The C library's `stat64`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn stat64(path: char_ptr, found: *mut libc::stat) -> c_int {
    // SAFETY: the same as stat where files have 64-bit sizes.
    unsafe { stat(path, found) }
}

/// The C library's `close`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn close(fd: c_int) -> c_int {
    if is_ours(fd) {
        mark(fd, false);
        let mut all = cameras();
        if let Some(place) = all.iter().position(|camera| camera.fd == fd) {
            let camera = all.swap_remove(place);
            // Not under the lock: dropping closes a descriptor.
            drop(all);
            drop(camera);
        }
    }
    // SAFETY: the caller's descriptor.
    unsafe { real::close(fd) }
}

/// The C library's `ioctl`; the argument is always a pointer for cameras.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    // SAFETY: the caller's arguments, as they came.
    unsafe {
        if is_ours(fd) {
            return ioctl_camera(fd, request, argument);
        }
        real::ioctl(fd, request, argument)
    }
}

/// The C library's `syscall`: crate v4l makes its ioctls that way.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let int = |argument: c_long| c_int::try_from(argument).unwrap_or(-1);
    // SAFETY: the caller's arguments, as they came.
    unsafe {
        match number {
            libc::SYS_ioctl if is_ours(int(a)) => {
                ioctl_camera(int(a), b.cast_unsigned(), c as *mut c_void).into()
            }
            // libv4l2 opens, closes and maps that way too.
            libc::SYS_openat => match open_camera(b as char_ptr, int(c)) {
                Some(fd) => fd.into(),
                None => real::syscall(number, a, b, c, d, e, f),
            },
            libc::SYS_close if is_ours(int(a)) => close(int(a)).into(),
            libc::SYS_mmap if is_ours(int(e)) => {
                real::syscall(number, a, b, c, d, memory_of(int(e)).into(), f)
            }
            _ => real::syscall(number, a, b, c, d, e, f),
        }
    }
}

/// The C library's `mmap`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mmap(
    address: *mut c_void,
    length: size_t,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: off_t,
) -> *mut c_void {
    let fd = memory_of(fd);
    // SAFETY: the caller's arguments; the descriptor is the camera's memory.
    unsafe { real::mmap(address, length, protection, flags, fd, offset) }
}

/// The C library's `mmap64`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mmap64(
    address: *mut c_void,
    length: size_t,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: off_t,
) -> *mut c_void {
    // SAFETY: the same as mmap where off_t has 64 bits.
    unsafe { mmap(address, length, protection, flags, fd, offset) }
}

fn memory_of(fd: c_int) -> c_int {
    if is_ours(fd) { find(fd, |camera| camera.memory).unwrap_or(fd) } else { fd }
}

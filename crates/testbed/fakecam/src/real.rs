//! The C library's own functions, found once each.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{FILE, c_char, c_int, c_long, c_ulong, c_void, mode_t, off_t, size_t};

macro_rules! real {
    ($name:ident($($argument:ident: $kind:ty),*) -> $result:ty) => {
        /// # Safety
        /// As the C library's.
        pub(crate) unsafe fn $name($($argument: $kind),*) -> $result {
            // No OnceLock: its waiting is a futex call, which comes back to our own `syscall`.
            // Two threads may look the same function up at once; both find it.
            static FOUND: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
            let mut found = FOUND.load(Ordering::Acquire);
            if found.is_null() {
                let name = concat!(stringify!($name), "\0").as_ptr().cast();
                // SAFETY: the name ends in a zero.
                found = unsafe { libc::dlsym(libc::RTLD_NEXT, name) };
                FOUND.store(found, Ordering::Release);
            }
            // SAFETY: the function is what the C library declares; a variadic one takes its few
            // arguments in the same registers on x86-64 and AArch64. The caller keeps its contract.
            unsafe {
                let function =
                    std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($kind),*) -> $result>(found);
                function($($argument),*)
            }
        }
    };
}

real!(open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int);
real!(open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int);
real!(openat(at: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int);
real!(__open_2(path: *const c_char, flags: c_int) -> c_int);
real!(__open64_2(path: *const c_char, flags: c_int) -> c_int);
real!(access(path: *const c_char, mode: c_int) -> c_int);
real!(stat(path: *const c_char, found: *mut libc::stat) -> c_int);
real!(close(fd: c_int) -> c_int);
real!(ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int);
real!(syscall(number: c_long, a: c_long, b: c_long, c: c_long, d: c_long, e: c_long, f: c_long) -> c_long);
real!(mmap(address: *mut c_void, length: size_t, protection: c_int, flags: c_int, fd: c_int, offset: off_t) -> *mut c_void);
real!(fopen(path: *const c_char, mode: *const c_char) -> *mut FILE);
real!(fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE);

//! A fake V4L2 camera for hosts without one: an LD_PRELOAD library.
//!
//! It answers open, ioctl, mmap and close for one path, and hands everything else to the C library.
//! The descriptor it gives out is a pipe's, so poll, select and epoll are the kernel's own. Any
//! program that speaks V4L2 with memory-mapped buffers can capture from it; Debian's ustreamer and
//! v4l2-ctl do so in the tests.
//!
//! | variable | meaning |
//! |---|---|
//! | `FAKECAM_DEVICE` | the path it answers for, `/dev/video0` by default; need not exist |
//! | `FAKECAM_FORMATS` | `MJPG,YUYV` or one of them |
//! | `FAKECAM_FRAMES` | a folder of .jpg files to show in turn, instead of its own pictures |
//! | `FAKECAM_QUIRKS` | `nodht` leaves out the Huffman tables, `padding` pads behind the picture |
//! | `FAKECAM_CONTROL` | a file with the present fault, looked at every 20 ms |
//!
//! Faults: `none`, `silent`, `repeat`, `corrupt`, `error-flag`, `truncate`, `empty`, `unplug`,
//! `slow [MS]`, `hang`, `busy`, and `eio-streamoff`, which may stand beside another one.

#![expect(unsafe_code, reason = "it stands in the C library's place")]
#![expect(non_camel_case_types, reason = "the C library's names")]

mod abi;
mod camera;
mod config;
mod fault;
mod frames;
mod hooks;
mod ioctl;
mod real;
mod uevent;

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use libc::{c_char, c_int, c_ulong, c_void, timespec};

use camera::Camera;
use config::{complain, config};
use fault::Fault;
use frames::Pictures;
use ioctl::After;

/// How often the control file is looked at.
const LOOK_EVERY_NS: i64 = 20_000_000;

/// Which descriptors are ours: the quick answer for all the others. Larger ones never are.
static OURS: [AtomicBool; 1024] = [const { AtomicBool::new(false) }; 1024];
static CAMERAS: Mutex<Vec<Camera>> = Mutex::new(Vec::new());
static CONTROL: Once = Once::new();

type char_ptr = *const c_char;

fn is_ours(fd: c_int) -> bool {
    let place = usize::try_from(fd).ok().and_then(|fd| OURS.get(fd));
    place.is_some_and(|ours| ours.load(Ordering::Relaxed))
}

fn mark(fd: c_int, ours: bool) {
    if let Some(place) = usize::try_from(fd).ok().and_then(|fd| OURS.get(fd)) {
        place.store(ours, Ordering::Relaxed);
    }
}

fn cameras() -> MutexGuard<'static, Vec<Camera>> {
    CAMERAS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(errno: c_int) -> c_int {
    // SAFETY: the calling thread's own errno.
    unsafe { *libc::__errno_location() = errno };
    -1
}

fn sleep_ns(ns: i64) {
    let time = timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 };
    // SAFETY: a time to read; what is left after a signal does not matter.
    unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
}

/// Lets a call take as long as the fault says.
fn linger() {
    if fault::now() == Fault::Slow {
        sleep_ns(i64::from(fault::slow_ms()) * 1_000_000);
    }
    while fault::now() == Fault::Hang {
        sleep_ns(LOOK_EVERY_NS);
    }
}

/// Whether a call is about the camera.
unsafe fn is_camera(path: char_ptr) -> bool {
    // SAFETY: if not null, the caller's path is a C string, as for the real call.
    let ours = !path.is_null() && config().is_device(unsafe { CStr::from_ptr(path) });
    if ours {
        CONTROL.call_once(follow_control);
    }
    ours
}

/// Opens the camera if `path` is its path.
unsafe fn open_camera(path: char_ptr, flags: c_int) -> Option<c_int> {
    // SAFETY: the caller's argument, as it came.
    if !unsafe { is_camera(path) } {
        return None;
    }
    linger();
    let fault = fault::now();
    if matches!(fault, Fault::Unplug | Fault::Busy) {
        let gone = fault == Fault::Unplug;
        return Some(failed(if gone { libc::ENOENT } else { libc::EBUSY }));
    }
    let Some(camera) = Camera::open(flags & libc::O_NONBLOCK != 0) else {
        return Some(failed(libc::ENFILE));
    };
    let fd = camera.fd;
    if usize::try_from(fd).is_ok_and(|fd| fd >= OURS.len()) {
        return Some(failed(libc::EMFILE));
    }
    cameras().push(camera);
    mark(fd, true);
    Some(fd)
}

/// Reads the control file now, and starts the thread that goes on reading it.
fn follow_control() {
    let Some(path) = config().control.clone() else { return };
    let mut known = String::new();
    let mut look = move || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if text == known {
            return;
        }
        if let Err(problem) = fault::set(&text) {
            complain("FAKECAM_CONTROL", &format!("{}: {problem}", path.display()));
        }
        known = text;
        if fault::now() == Fault::Unplug {
            // What was open stays dead: a camera that is plugged in again is a new one.
            for camera in cameras().iter_mut() {
                camera.unplugged = true;
                camera.signal();
            }
        }
    };
    look();
    let thread = std::thread::Builder::new().name("fakecam-control".to_owned());
    let started = thread.spawn(move || {
        loop {
            sleep_ns(LOOK_EVERY_NS);
            look();
        }
    });
    if let Err(error) = started {
        complain("FAKECAM_CONTROL", &error.to_string());
    }
}

/// Takes pictures until the stream is stopped.
fn expose(fd: c_int, generation: u64) {
    let Some((format, rate)) = find(fd, |camera| (camera.format, camera.rate)) else { return };
    let run = move || {
        let pictures = Pictures::new(config(), &format);
        let interval = 1_000_000_000 / i64::from(rate.max(1));
        let mut due = now();
        loop {
            due.tv_nsec += interval;
            due.tv_sec += due.tv_nsec / 1_000_000_000;
            due.tv_nsec %= 1_000_000_000;
            // SAFETY: a time to read. Absolute, so that no delay adds up.
            unsafe {
                let clock = libc::CLOCK_MONOTONIC;
                let none = std::ptr::null_mut();
                libc::clock_nanosleep(clock, libc::TIMER_ABSTIME, &raw const due, none);
            }
            // Made while no lock is held.
            if let Some(last) = find(fd, |camera| camera.sequence) {
                pictures.prepare(last.wrapping_add(1));
            }
            let goes_on = find(fd, |camera| {
                let current = camera.generation == generation && !camera.unplugged;
                if current {
                    camera.expose(&pictures, now());
                }
                current
            });
            if goes_on != Some(true) {
                return;
            }
        }
    };
    // The name tells measurements which time is the camera's own.
    let started = std::thread::Builder::new().name("fakecam".to_owned()).spawn(run);
    if let Err(error) = started {
        complain("FAKECAM_DEVICE", &error.to_string());
    }
}

fn now() -> timespec {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a time to write.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time
}

fn find<T>(fd: c_int, with: impl FnOnce(&mut Camera) -> T) -> Option<T> {
    cameras().iter_mut().find(|camera| camera.fd == fd).map(with)
}

/// # Safety
/// `argument` must be what the request says.
unsafe fn ioctl_camera(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    // As in the kernel, 32 bits count: some programs keep requests in an int, sign included.
    let request = request & 0xffff_ffff;
    linger();
    if fault::now() == Fault::Unplug || find(fd, |camera| camera.unplugged) != Some(false) {
        return failed(libc::ENODEV);
    }
    // SAFETY: by this function's own contract.
    let answer = unsafe {
        match request {
            abi::DQBUF => return dequeue(fd, &mut *argument.cast()),
            abi::REQBUFS => return request_buffers(fd, &mut *argument.cast()),
            abi::S_FMT if fault::now() == Fault::Busy => return failed(libc::EBUSY),
            abi::STREAMOFF => {
                find(fd, Camera::stop);
                // Stopped nevertheless: were REQBUFS refused too, crate v4l would panic twice.
                return if fault::streamoff_fails() { failed(libc::EIO) } else { 0 };
            }
            _ => find(fd, |camera| ioctl::answer(camera, request, argument)),
        }
    };
    match answer {
        Some(Ok(After::Nothing)) => 0,
        Some(Ok(After::Expose(generation))) => {
            expose(fd, generation);
            0
        }
        Some(Err(errno)) => failed(errno),
        None => failed(libc::ENODEV),
    }
}

fn request_buffers(fd: c_int, wanted: &mut abi::RequestBuffers) -> c_int {
    if wanted.kind != abi::BUF_TYPE_VIDEO_CAPTURE || wanted.memory != abi::MEMORY_MMAP {
        return failed(libc::EINVAL);
    }
    let mut all = cameras();
    // What was open when it was unplugged keeps nobody from the new one.
    let holds = |camera: &Camera| !camera.unplugged && !camera.slots.is_empty();
    if all.iter().any(|camera| camera.fd != fd && holds(camera)) {
        return failed(libc::EBUSY);
    }
    let Some(camera) = all.iter_mut().find(|camera| camera.fd == fd) else {
        return failed(libc::ENODEV);
    };
    if camera.streaming {
        return failed(libc::EBUSY);
    }
    match camera.allocate(wanted.count) {
        Ok(count) => {
            wanted.count = count;
            0
        }
        Err(errno) => failed(errno),
    }
}

fn dequeue(fd: c_int, buffer: &mut abi::Buffer) -> c_int {
    loop {
        let taken = find(fd, |camera| {
            if camera.unplugged {
                return Err(libc::ENODEV);
            }
            if !camera.streaming {
                return Err(libc::EINVAL);
            }
            let Some(index) = camera.filled.pop_front() else {
                return if camera.nonblocking { Err(libc::EAGAIN) } else { Ok(false) };
            };
            camera.signal();
            if let Some(slot) = camera.slots.get_mut(index) {
                slot.done = false;
            }
            buffer.index = u32::try_from(index).unwrap_or(0);
            ioctl::query_buffer(camera, buffer).map(|()| true)
        });
        match taken {
            Some(Ok(true)) => return 0,
            Some(Ok(false)) => sleep_ns(1_000_000),
            Some(Err(errno)) => return failed(errno),
            None => return failed(libc::EBADF),
        }
    }
}

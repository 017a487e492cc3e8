//! One opened camera: its format, its buffers, and where each of them is.

use std::collections::VecDeque;
use std::ptr;

use libc::{c_int, timespec, timeval};

use crate::abi::*;
use crate::config::config;
use crate::fault::{self, Fault};
use crate::frames::Pictures;

/// Sizes offered, the smallest first.
pub(crate) const SIZES: [(u32, u32); 4] = [(320, 240), (640, 480), (1280, 720), (1920, 1080)];

/// Rates offered, per second.
pub(crate) const RATES: [u32; 5] = [30, 15, 10, 5, 1];

const MAX_BUFFERS: u32 = 32;
const PAGE: usize = 4096;

/// Bytes of padding behind a picture, for cameras that pad.
const PADDING: usize = 4096;

pub(crate) struct Slot {
    pub queued: bool,
    pub done: bool,
    pub used: u32,
    pub flags: u32,
    pub sequence: u32,
    pub taken: timeval,
}

pub(crate) struct Camera {
    /// The descriptor that the program holds: the reading end of a pipe, with a byte in it while a
    /// picture waits. An eventfd would not do: it is writable too, and some programs take that for
    /// a disconnected camera.
    pub fd: c_int,
    bell: c_int,
    pub nonblocking: bool,
    pub memory: c_int,
    mapped: *mut u8,
    mapped_len: usize,
    pub format: PixFormat,
    pub rate: u32,
    pub slots: Vec<Slot>,
    pub filled: VecDeque<usize>,
    waiting: VecDeque<usize>,
    pub streaming: bool,
    /// Counts STREAMONs: a thread of an earlier one ends.
    pub generation: u64,
    pub unplugged: bool,
    signalled: bool,
    /// Of the picture taken last.
    pub sequence: u32,
    repeated: Option<u32>,
}

// SAFETY: the mapping belongs to the camera, which is only ever used under its lock.
unsafe impl Send for Camera {}

impl Camera {
    /// `None` if the kernel has no descriptors left.
    pub(crate) fn open(nonblocking: bool) -> Option<Camera> {
        let mut ends = [-1; 2];
        // SAFETY: plain system calls; there is room for two descriptors, and the name is a C string.
        let memory = unsafe {
            if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) != 0 {
                return None;
            }
            libc::memfd_create(c"fakecam".as_ptr(), libc::MFD_CLOEXEC)
        };
        let [fd, bell] = ends;
        if memory < 0 {
            return None;
        }
        let kind = config().formats.first().copied().unwrap_or(MJPG);
        Some(Camera {
            fd,
            bell,
            nonblocking,
            memory,
            mapped: ptr::null_mut(),
            mapped_len: 0,
            format: nearest(640, 480, kind),
            rate: 30,
            slots: Vec::new(),
            filled: VecDeque::new(),
            waiting: VecDeque::new(),
            streaming: false,
            generation: 0,
            unplugged: false,
            signalled: false,
            sequence: 0,
            repeated: None,
        })
    }

    /// Bytes from one buffer to the next.
    pub(crate) fn stride(&self) -> usize {
        (self.format.sizeimage as usize).next_multiple_of(PAGE)
    }

    /// Makes `count` buffers, or none.
    pub(crate) fn allocate(&mut self, count: u32) -> Result<u32, c_int> {
        self.release();
        let count = count.min(MAX_BUFFERS);
        let len = self.stride() * count as usize;
        if count == 0 {
            return Ok(0);
        }
        let file_len = libc::off_t::try_from(len).map_err(|_| libc::ENOMEM)?;
        // SAFETY: a new shared mapping of our own file; its length is that of the file.
        let mapped = unsafe {
            if libc::ftruncate(self.memory, file_len) != 0 {
                return Err(libc::ENOMEM);
            }
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(ptr::null_mut(), len, protection, libc::MAP_SHARED, self.memory, 0)
        };
        if mapped == libc::MAP_FAILED {
            return Err(libc::ENOMEM);
        }
        self.mapped = mapped.cast();
        self.mapped_len = len;
        let taken = timeval { tv_sec: 0, tv_usec: 0 };
        self.slots.extend((0..count).map(|_| Slot {
            queued: false,
            done: false,
            used: 0,
            flags: 0,
            sequence: 0,
            taken,
        }));
        Ok(count)
    }

    fn release(&mut self) {
        self.stop();
        self.slots.clear();
        if !self.mapped.is_null() {
            // SAFETY: made by `allocate` with this length, and not used afterwards.
            unsafe { libc::munmap(self.mapped.cast(), self.mapped_len) };
            self.mapped = ptr::null_mut();
        }
    }

    pub(crate) fn queue(&mut self, index: usize) -> Result<(), c_int> {
        let slot = self.slots.get_mut(index).ok_or(libc::EINVAL)?;
        if slot.queued || slot.done {
            return Err(libc::EINVAL);
        }
        slot.queued = true;
        self.waiting.push_back(index);
        Ok(())
    }

    /// The number of the stream, `None` if it runs already.
    pub(crate) fn start(&mut self) -> Result<Option<u64>, c_int> {
        if self.slots.is_empty() {
            return Err(libc::EINVAL);
        }
        if self.streaming {
            return Ok(None);
        }
        self.streaming = true;
        self.sequence = 0;
        self.generation += 1;
        Ok(Some(self.generation))
    }

    pub(crate) fn stop(&mut self) {
        self.streaming = false;
        self.generation += 1;
        self.filled.clear();
        self.waiting.clear();
        for slot in &mut self.slots {
            (slot.queued, slot.done) = (false, false);
        }
        self.signal();
    }

    /// Makes the descriptor readable exactly while DQBUF would not wait.
    pub(crate) fn signal(&mut self) {
        let wanted = !self.filled.is_empty() || self.unplugged;
        if wanted == self.signalled {
            return;
        }
        self.signalled = wanted;
        let mut byte = 0_u8;
        // SAFETY: one byte from or to a local variable.
        unsafe {
            if wanted {
                libc::write(self.bell, (&raw const byte).cast(), 1);
            } else {
                libc::read(self.fd, (&raw mut byte).cast(), 1);
            }
        }
    }

    /// The sensor took a picture at `taken`.
    pub(crate) fn expose(&mut self, pictures: &Pictures, taken: timespec) {
        self.sequence += 1;
        let fault = fault::now();
        if fault == Fault::Silent {
            return;
        }
        // Without a buffer the picture is lost, as with any driver.
        let Some(index) = self.waiting.pop_front() else { return };
        let number = if fault == Fault::Repeat {
            *self.repeated.get_or_insert(self.sequence)
        } else {
            self.repeated = None;
            self.sequence
        };
        let len = self.stride();
        // SAFETY: buffer `index` lies wholly inside the mapping, and the program reads it only
        // after DQBUF; V4L2 gives it no stronger promise.
        let buffer = unsafe { std::slice::from_raw_parts_mut(self.mapped.add(index * len), len) };
        let mut used = pictures.copy(number, buffer);
        let mut flags = 0;
        match fault {
            Fault::Corrupt => buffer.get_mut(..64.min(used)).unwrap_or_default().fill(0x5a),
            Fault::Truncate => used /= 2,
            Fault::Empty => used = 0,
            Fault::ErrorFlag => flags = BUF_FLAG_ERROR,
            Fault::None
            | Fault::Silent
            | Fault::Repeat
            | Fault::Unplug
            | Fault::Slow
            | Fault::Hang
            | Fault::EioStreamoff
            | Fault::Busy => {}
        }
        if config().padding && fault == Fault::None {
            let end = len.min(used + PADDING);
            buffer.get_mut(used..end).unwrap_or_default().fill(0);
            used = end;
        }
        let sequence = self.sequence;
        if let Some(slot) = self.slots.get_mut(index) {
            let taken = timeval { tv_sec: taken.tv_sec, tv_usec: taken.tv_nsec / 1000 };
            let used = u32::try_from(used).unwrap_or(0);
            *slot = Slot { queued: false, done: true, used, flags, sequence, taken };
        }
        self.filled.push_back(index);
        self.signal();
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.release();
        // SAFETY: our own descriptors; the one left is closed by the program.
        unsafe {
            libc::close(self.memory);
            libc::close(self.bell);
        }
    }
}

/// The nearest picture that is offered, as drivers answer S_FMT.
pub(crate) fn nearest(width: u32, height: u32, kind: u32) -> PixFormat {
    let offered = &config().formats;
    let first = offered.first().copied().unwrap_or(MJPG);
    let kind = if offered.contains(&kind) { kind } else { first };
    let distance = |size: &&(u32, u32)| size.0.abs_diff(width) + size.1.abs_diff(height);
    let (width, height) = SIZES.iter().min_by_key(distance).copied().unwrap_or((640, 480));
    PixFormat {
        width,
        height,
        pixelformat: kind,
        field: FIELD_NONE,
        bytesperline: if kind == YUYV { width * 2 } else { 0 },
        sizeimage: width * height * 2,
        colorspace: COLORSPACE_SRGB,
        private: 0,
        flags: 0,
        ycbcr_enc: 0,
        quantization: 0,
        xfer_func: 0,
    }
}

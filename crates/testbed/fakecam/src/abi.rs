//! The part of V4L2's interface that the fake camera answers: linux/videodev2.h, 64-bit layout.

use libc::{c_ulong, timeval};

/// Capture through a single plane.
pub(crate) const BUF_TYPE_VIDEO_CAPTURE: u32 = 1;
pub(crate) const MEMORY_MMAP: u32 = 1;
pub(crate) const FIELD_NONE: u32 = 1;
pub(crate) const COLORSPACE_SRGB: u32 = 8;
pub(crate) const CAP_VIDEO_CAPTURE: u32 = 0x0000_0001;
pub(crate) const CAP_STREAMING: u32 = 0x0400_0000;
pub(crate) const CAP_DEVICE_CAPS: u32 = 0x8000_0000;
pub(crate) const CAP_TIMEPERFRAME: u32 = 0x1000;
pub(crate) const FMT_FLAG_COMPRESSED: u32 = 1;
pub(crate) const FRMSIZE_TYPE_DISCRETE: u32 = 1;
pub(crate) const FRMIVAL_TYPE_DISCRETE: u32 = 1;
pub(crate) const BUF_FLAG_MAPPED: u32 = 0x1;
pub(crate) const BUF_FLAG_QUEUED: u32 = 0x2;
pub(crate) const BUF_FLAG_DONE: u32 = 0x4;
pub(crate) const BUF_FLAG_ERROR: u32 = 0x40;
pub(crate) const BUF_FLAG_TIMESTAMP_MONOTONIC: u32 = 0x2000;

/// A pixel format's four characters as the number they are.
pub(crate) const fn fourcc(code: [u8; 4]) -> u32 {
    u32::from_le_bytes(code)
}

/// Compressed pictures.
pub(crate) const MJPG: u32 = fourcc(*b"MJPG");
/// Two pixels in four bytes.
pub(crate) const YUYV: u32 = fourcc(*b"YUYV");

#[repr(C)]
pub(crate) struct Capability {
    pub driver: [u8; 16],
    pub card: [u8; 32],
    pub bus_info: [u8; 32],
    pub version: u32,
    pub capabilities: u32,
    pub device_caps: u32,
    pub reserved: [u32; 3],
}

#[repr(C)]
pub(crate) struct FmtDesc {
    pub index: u32,
    pub kind: u32,
    pub flags: u32,
    pub description: [u8; 32],
    pub pixelformat: u32,
    pub mbus_code: u32,
    pub reserved: [u32; 3],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct PixFormat {
    pub width: u32,
    pub height: u32,
    pub pixelformat: u32,
    pub field: u32,
    pub bytesperline: u32,
    pub sizeimage: u32,
    pub colorspace: u32,
    pub private: u32,
    pub flags: u32,
    pub ycbcr_enc: u32,
    pub quantization: u32,
    pub xfer_func: u32,
}

/// `v4l2_format`: the union is 200 bytes, aligned to 8.
#[repr(C, align(8))]
pub(crate) struct Format {
    pub kind: u32,
    pub padding: u32,
    pub pix: PixFormat,
    pub rest: [u8; 200 - size_of::<PixFormat>()],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Fract {
    pub numerator: u32,
    pub denominator: u32,
}

#[repr(C)]
pub(crate) struct StreamParm {
    pub kind: u32,
    pub capability: u32,
    pub capturemode: u32,
    pub timeperframe: Fract,
    pub extendedmode: u32,
    pub readbuffers: u32,
    pub rest: [u8; 200 - 24],
}

#[repr(C)]
pub(crate) struct RequestBuffers {
    pub count: u32,
    pub kind: u32,
    pub memory: u32,
    pub capabilities: u32,
    pub flags: u32,
}

#[repr(C)]
pub(crate) struct Buffer {
    pub index: u32,
    pub kind: u32,
    pub bytesused: u32,
    pub flags: u32,
    pub field: u32,
    pub timestamp: timeval,
    pub timecode: [u32; 4],
    pub sequence: u32,
    pub memory: u32,
    pub offset: u64,
    pub length: u32,
    pub reserved2: u32,
    pub request_fd: i32,
}

#[repr(C)]
pub(crate) struct FrmSize {
    pub index: u32,
    pub pixelformat: u32,
    pub kind: u32,
    pub width: u32,
    pub height: u32,
    pub rest: [u32; 4],
    pub reserved: [u32; 2],
}

#[repr(C)]
pub(crate) struct FrmIval {
    pub index: u32,
    pub pixelformat: u32,
    pub width: u32,
    pub height: u32,
    pub kind: u32,
    pub interval: Fract,
    pub rest: [u32; 4],
    pub reserved: [u32; 2],
}

#[repr(C)]
pub(crate) struct Input {
    pub index: u32,
    pub name: [u8; 32],
    pub kind: u32,
    pub audioset: u32,
    pub tuner: u32,
    pub std: u64,
    pub status: u32,
    pub capabilities: u32,
    pub reserved: [u32; 3],
}

const READ: c_ulong = 2;
const WRITE: c_ulong = 1;

const fn ioc<T>(direction: c_ulong, number: c_ulong) -> c_ulong {
    direction << 30 | (size_of::<T>() as c_ulong) << 16 | (b'V' as c_ulong) << 8 | number
}

pub(crate) const QUERYCAP: c_ulong = ioc::<Capability>(READ, 0);
pub(crate) const ENUM_FMT: c_ulong = ioc::<FmtDesc>(READ | WRITE, 2);
pub(crate) const G_FMT: c_ulong = ioc::<Format>(READ | WRITE, 4);
pub(crate) const S_FMT: c_ulong = ioc::<Format>(READ | WRITE, 5);
pub(crate) const REQBUFS: c_ulong = ioc::<RequestBuffers>(READ | WRITE, 8);
pub(crate) const QUERYBUF: c_ulong = ioc::<Buffer>(READ | WRITE, 9);
pub(crate) const QBUF: c_ulong = ioc::<Buffer>(READ | WRITE, 15);
pub(crate) const DQBUF: c_ulong = ioc::<Buffer>(READ | WRITE, 17);
pub(crate) const STREAMON: c_ulong = ioc::<u32>(WRITE, 18);
pub(crate) const STREAMOFF: c_ulong = ioc::<u32>(WRITE, 19);
pub(crate) const G_PARM: c_ulong = ioc::<StreamParm>(READ | WRITE, 21);
pub(crate) const S_PARM: c_ulong = ioc::<StreamParm>(READ | WRITE, 22);
pub(crate) const ENUMINPUT: c_ulong = ioc::<Input>(READ | WRITE, 26);
pub(crate) const G_INPUT: c_ulong = ioc::<u32>(READ, 38);
pub(crate) const S_INPUT: c_ulong = ioc::<u32>(READ | WRITE, 39);
pub(crate) const TRY_FMT: c_ulong = ioc::<Format>(READ | WRITE, 64);
pub(crate) const ENUM_FRAMESIZES: c_ulong = ioc::<FrmSize>(READ | WRITE, 74);
pub(crate) const ENUM_FRAMEINTERVALS: c_ulong = ioc::<FrmIval>(READ | WRITE, 75);

// The sizes are part of the request's number: these are the kernel's.
const _: () = assert!(QUERYCAP == 0x8068_5600 && S_FMT == 0xc0d0_5605 && DQBUF == 0xc058_5611);
const _: () = assert!(REQBUFS == 0xc014_5608 && S_PARM == 0xc0cc_5616 && ENUMINPUT == 0xc050_561a);
const _: () = assert!(ENUM_FMT == 0xc040_5602 && ENUM_FRAMESIZES == 0xc02c_564a);
const _: () = assert!(ENUM_FRAMEINTERVALS == 0xc034_564b);

//! The calls of V4L2, answered as uvcvideo would: same meaning, same errors.

use libc::{c_int, c_ulong, c_void};

use crate::abi::*;
use crate::camera::{Camera, RATES, SIZES, nearest};
use crate::config::config;

/// What has to be done once the lock is released.
pub(crate) enum After {
    Nothing,
    /// Start the thread that takes pictures.
    Expose(u64),
}

/// Copies a name into a field, leaving room for the zero at its end.
fn name<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [0; N];
    for (to, from) in field.iter_mut().take(N - 1).zip(text.bytes()) {
        *to = from;
    }
    field
}

/// Answers a call, apart from DQBUF, REQBUFS and what concerns all cameras.
///
/// # Safety
/// `argument` must point to what the request says, as for the real call.
pub(crate) unsafe fn answer(
    camera: &mut Camera,
    request: c_ulong,
    argument: *mut c_void,
) -> Result<After, c_int> {
    // SAFETY: by this function's own contract.
    unsafe {
        match request {
            QUERYCAP => query_capability(&mut *argument.cast()),
            ENUM_FMT => enum_formats(&mut *argument.cast()),
            G_FMT => get_format(camera, &mut *argument.cast()),
            TRY_FMT => try_format(&mut *argument.cast()).map(|_| ()),
            S_FMT => set_format(camera, &mut *argument.cast()),
            ENUM_FRAMESIZES => enum_sizes(&mut *argument.cast()),
            ENUM_FRAMEINTERVALS => enum_rates(&mut *argument.cast()),
            G_PARM => get_rate(camera, &mut *argument.cast()),
            S_PARM => set_rate(camera, &mut *argument.cast()),
            ENUMINPUT => enum_inputs(&mut *argument.cast()),
            G_INPUT => {
                *argument.cast::<u32>() = 0;
                Ok(())
            }
            S_INPUT if *argument.cast::<u32>() == 0 => Ok(()),
            S_INPUT => Err(libc::EINVAL),
            QUERYBUF => query_buffer(camera, &mut *argument.cast()),
            QBUF => {
                let buffer = &mut *argument.cast::<Buffer>();
                is_ours(buffer.kind)?;
                camera.queue(buffer.index as usize)?;
                query_buffer(camera, buffer)
            }
            STREAMON => {
                is_ours(*argument.cast::<u32>())?;
                return camera.start().map(|started| started.map_or(After::Nothing, After::Expose));
            }
            _ => Err(libc::ENOTTY),
        }
    }
    .map(|()| After::Nothing)
}

fn is_ours(kind: u32) -> Result<(), c_int> {
    if kind == BUF_TYPE_VIDEO_CAPTURE { Ok(()) } else { Err(libc::EINVAL) }
}

fn query_capability(capability: &mut Capability) -> Result<(), c_int> {
    let device_caps = CAP_VIDEO_CAPTURE | CAP_STREAMING;
    *capability = Capability {
        driver: name("fakecam"),
        card: name("Stillwatch fakecam"),
        bus_info: name("platform:fakecam"),
        version: 6 << 16,
        capabilities: device_caps | CAP_DEVICE_CAPS,
        device_caps,
        reserved: [0; 3],
    };
    Ok(())
}

fn enum_formats(description: &mut FmtDesc) -> Result<(), c_int> {
    is_ours(description.kind)?;
    let kind = *config().formats.get(description.index as usize).ok_or(libc::EINVAL)?;
    let compressed = kind == MJPG;
    description.flags = if compressed { FMT_FLAG_COMPRESSED } else { 0 };
    description.description = name(if compressed { "Motion-JPEG" } else { "YUYV 4:2:2" });
    description.pixelformat = kind;
    Ok(())
}

fn get_format(camera: &Camera, format: &mut Format) -> Result<(), c_int> {
    is_ours(format.kind)?;
    format.pix = camera.format;
    Ok(())
}

fn try_format(format: &mut Format) -> Result<PixFormat, c_int> {
    is_ours(format.kind)?;
    format.pix = nearest(format.pix.width, format.pix.height, format.pix.pixelformat);
    Ok(format.pix)
}

fn set_format(camera: &mut Camera, format: &mut Format) -> Result<(), c_int> {
    if !camera.slots.is_empty() {
        return Err(libc::EBUSY);
    }
    camera.format = try_format(format)?;
    Ok(())
}

fn enum_sizes(size: &mut FrmSize) -> Result<(), c_int> {
    let known = config().formats.contains(&size.pixelformat);
    let found = SIZES.get(size.index as usize).filter(|_| known).ok_or(libc::EINVAL)?;
    size.kind = FRMSIZE_TYPE_DISCRETE;
    (size.width, size.height) = *found;
    Ok(())
}

fn enum_rates(interval: &mut FrmIval) -> Result<(), c_int> {
    let known = config().formats.contains(&interval.pixelformat)
        && SIZES.contains(&(interval.width, interval.height));
    let rate = RATES.get(interval.index as usize).filter(|_| known).ok_or(libc::EINVAL)?;
    interval.kind = FRMIVAL_TYPE_DISCRETE;
    interval.interval = Fract { numerator: 1, denominator: *rate };
    Ok(())
}

fn get_rate(camera: &Camera, parameters: &mut StreamParm) -> Result<(), c_int> {
    is_ours(parameters.kind)?;
    parameters.capability = CAP_TIMEPERFRAME;
    parameters.timeperframe = Fract { numerator: 1, denominator: camera.rate };
    Ok(())
}

/// The slowest rate offered that is not below the one asked for; without one, the fastest.
fn set_rate(camera: &mut Camera, parameters: &mut StreamParm) -> Result<(), c_int> {
    is_ours(parameters.kind)?;
    let Fract { numerator, denominator } = parameters.timeperframe;
    let enough = |rate: &&u32| u64::from(**rate) * u64::from(numerator) >= u64::from(denominator);
    let fastest = RATES.first().copied().unwrap_or(30);
    camera.rate = RATES.iter().filter(enough).min().copied().unwrap_or(fastest);
    get_rate(camera, parameters)
}

fn enum_inputs(input: &mut Input) -> Result<(), c_int> {
    if input.index != 0 {
        return Err(libc::EINVAL);
    }
    input.name = name("Camera 1");
    input.kind = 2; // V4L2_INPUT_TYPE_CAMERA
    Ok(())
}

/// Writes what is known of buffer `index` into the program's structure.
pub(crate) fn query_buffer(camera: &Camera, buffer: &mut Buffer) -> Result<(), c_int> {
    is_ours(buffer.kind)?;
    let slot = camera.slots.get(buffer.index as usize).ok_or(libc::EINVAL)?;
    buffer.bytesused = slot.used;
    buffer.flags = BUF_FLAG_MAPPED | BUF_FLAG_TIMESTAMP_MONOTONIC | slot.flags;
    if slot.queued {
        buffer.flags |= BUF_FLAG_QUEUED;
    }
    if slot.done {
        buffer.flags |= BUF_FLAG_DONE;
    }
    buffer.field = FIELD_NONE;
    buffer.timestamp = slot.taken;
    buffer.sequence = slot.sequence;
    buffer.memory = MEMORY_MMAP;
    buffer.offset = u64::from(buffer.index) * camera.stride() as u64;
    buffer.length = camera.format.sizeimage;
    Ok(())
}

//! A USB camera that is a program: a USB/IP server with one UVC device, so that the guest's own vhci_hcd
//! and uvcvideo talk to it (`usbip --tcp-port PORT attach -r 10.0.2.2 -b 1-1`). It can be pulled out,
//! hang, and lie, at any moment. `fakecam` is the other one: beneath a single program, without a kernel.
//!
//! It is a bulk camera: emulated host controllers can't do isochronous transfers.

mod device;
mod pictures;
mod wire;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use self::device::{Answer, Device, HEADER};
use self::pictures::Pictures;
use self::wire::{Asked, Submission, Urb};
use crate::eventually::pause;

/// The guest's kernel reads all the time; one that does not is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How soon a stalled endpoint says so again.
const STALL: Duration = Duration::from_millis(50);

/// Longer transfers are no camera's.
const MAX_TRANSFER: usize = 1 << 20;

/// How the camera behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// As it should: different pictures, at the rate that was asked for.
    #[default]
    Run,
    /// Nothing comes, and nobody is told.
    Freeze,
    /// The same picture for ever, byte for byte.
    Repeat,
    /// Transfers that are no JPEG.
    Garbage,
    /// The endpoint says that it has stalled.
    Stall,
    /// [`Fault::Freeze`] until the device is configured anew, as after `authorized` 0 and 1, after a
    /// reset of the port, or when it is plugged in. Opening it again, or loading the driver again, does
    /// not help.
    DeadUntilReset,
}

/// See the module's documentation. It ends when it is dropped.
#[derive(Debug)]
pub struct UsbCamera {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

type Shared = (Mutex<State>, Condvar);

#[derive(Debug, Default)]
struct State {
    fault: Fault,
    pulled: bool,
    over: bool,
    frames: u64,
    imports: u64,
    line: Option<Line>,
}

/// What goes over one connection, from the import to its end.
#[derive(Debug)]
struct Line {
    /// It is the n-th import's.
    number: u64,
    stream: TcpStream,
    device: Device,
    /// Transfers that wait for a picture.
    waiting: VecDeque<Urb>,
    /// What is left of the picture that is being sent.
    rest: Vec<u8>,
}

impl Default for UsbCamera {
    fn default() -> UsbCamera {
        UsbCamera::plugged_in()
    }
}

impl UsbCamera {
    /// Begins one that is ready to be attached.
    ///
    /// # Panics
    /// There is no free port.
    pub fn plugged_in() -> UsbCamera {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let (for_sockets, for_pictures) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            std::thread::spawn(move || accept(&listener, &for_sockets)),
            std::thread::spawn(move || expose(&for_pictures)),
        ];
        UsbCamera { address, shared, threads }
    }

    /// The port to attach to.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Behaves so from now on.
    pub fn set(&self, fault: Fault) {
        lock(&self.shared).fault = fault;
        self.shared.1.notify_all();
    }

    /// How it behaves now: [`Fault::DeadUntilReset`] may have ended.
    pub fn fault(&self) -> Fault {
        lock(&self.shared).fault
    }

    /// Pulls it out: the guest's kernel sees it go, and it can't be attached.
    pub fn unplug(&self) {
        let mut state = lock(&self.shared);
        state.pulled = true;
        state.hang_up();
    }

    /// Puts it back in: it can be attached again.
    pub fn plug(&self) {
        lock(&self.shared).pulled = false;
    }

    /// How often it was attached.
    pub fn imports(&self) -> u64 {
        lock(&self.shared).imports
    }
}

impl Drop for UsbCamera {
    fn drop(&mut self) {
        {
            let mut state = lock(&self.shared);
            state.over = true;
            state.hang_up();
        }
        self.shared.1.notify_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            // It has panicked: the test has failed elsewhere, or is over.
            let _ = thread.join();
        }
    }
}

impl State {
    fn hang_up(&mut self) {
        if let Some(line) = self.line.take() {
            // It fails if the other end was first.
            let _ = line.stream.shutdown(Shutdown::Both);
        }
    }

    /// The connection of the n-th import, unless another one took its place.
    fn line(&mut self, number: u64) -> Option<&mut Line> {
        self.line.as_mut().filter(|line| line.number == number)
    }

    /// Whether a picture is due for somebody.
    fn may_send(&self) -> bool {
        let silent = matches!(self.fault, Fault::Freeze | Fault::DeadUntilReset);
        !silent && self.line.as_ref().is_some_and(|line| !line.waiting.is_empty())
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().flatten() {
        if lock(shared).over {
            return;
        }
        // A client that goes away is its own affair.
        let _ = greet(stream, shared);
    }
}

fn greet(mut stream: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(WRITE_TIMEOUT))?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let asked = Asked::read(&mut stream)?;
    let mut state = lock(shared);
    stream.write_all(&wire::welcome(asked, !state.pulled))?;
    if asked == Asked::Devices || state.pulled {
        return Ok(());
    }
    stream.set_read_timeout(None)?;
    let reader = stream.try_clone()?;
    // A guest that was reset never closed the one it had.
    state.hang_up();
    state.imports += 1;
    let number = state.imports;
    let (device, waiting, rest) = (Device::default(), VecDeque::new(), Vec::new());
    state.line = Some(Line { number, stream, device, waiting, rest });
    drop(state);
    let shared = Arc::clone(shared);
    // Ends with its connection, which ends with the camera.
    std::thread::spawn(move || {
        let _ = listen(reader, number, &shared);
        let mut state = lock(&shared);
        if state.line(number).is_some() {
            state.hang_up();
        }
    });
    Ok(())
}

/// Answers what the guest's kernel asks, except for pictures.
fn listen(mut reader: TcpStream, number: u64, shared: &Shared) -> io::Result<()> {
    loop {
        let submission = Submission::read(&mut reader, MAX_TRANSFER)?;
        let mut state = lock(shared);
        let State { fault, line, .. } = &mut *state;
        let Some(line) = line.as_mut().filter(|line| line.number == number) else {
            return Ok(());
        };
        let answer = match submission {
            Submission::Unlink { sequence, victim } => {
                let waited = line.waiting.len();
                line.waiting.retain(|urb| urb.sequence != victim);
                wire::unlinked(sequence, line.waiting.len() < waited)
            }
            Submission::Bulk(urb) => {
                line.waiting.push_back(urb);
                shared.1.notify_all();
                continue;
            }
            Submission::Control { urb, setup, data } => {
                let answer = line.device.control(setup, &data);
                if device::begins_stream(setup) || device::ends_stream(setup) {
                    line.rest.clear();
                }
                if device::configures(setup) && *fault == Fault::DeadUntilReset {
                    *fault = Fault::Run;
                    shared.1.notify_all();
                }
                match answer {
                    Answer::Data(bytes) => wire::filled(urb, &bytes),
                    Answer::Taken => wire::taken(urb, data.len()),
                    Answer::Stall => wire::stalled(urb),
                }
            }
        };
        line.stream.write_all(&answer)?;
    }
}

/// Makes pictures and sends them, to whoever has the camera.
fn expose(shared: &Shared) {
    let pictures = Pictures::new(device::SIZE);
    let mut newest = 0;
    loop {
        let mut state = lock(shared);
        while !state.over && !state.may_send() {
            state = shared.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.over {
            return;
        }
        let State { fault, frames, line, .. } = &mut *state;
        let Some(line) = line else { continue };
        let Some(urb) = line.waiting.pop_front() else { continue };
        let (answer, wait) = if *fault == Fault::Stall {
            (wire::stalled(urb), STALL)
        } else {
            if line.rest.is_empty() {
                newest += u64::from(*fault != Fault::Repeat);
                *frames += 1;
                line.rest = payload(&pictures, newest, *frames, *fault);
            }
            let now = line.rest.len().min(urb.length);
            let part: Vec<u8> = line.rest.drain(..now).collect();
            let last = line.rest.is_empty();
            (wire::filled(urb, &part), if last { line.device.interval() } else { Duration::ZERO })
        };
        if line.stream.write_all(&answer).is_err() {
            state.hang_up();
        }
        drop(state);
        pause(wait);
    }
}

/// A picture with its UVC header, as one payload.
fn payload(pictures: &Pictures, picture: u64, frame: u64, fault: Fault) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    // The bit that tells one frame from the next.
    if let Some(flags) = bytes.get_mut(1) {
        *flags |= u8::from(frame % 2 == 1);
    }
    if fault == Fault::Garbage {
        bytes.extend((0..2000_u32).map(|n| u8::try_from(n % 251).unwrap_or(0)));
    } else {
        bytes.extend(pictures.get(picture));
    }
    // A transfer ends with a packet that is not full.
    if bytes.len().is_multiple_of(usize::from(device::PACKET)) {
        bytes.push(0);
    }
    bytes
}

#[cfg(test)]
mod tests;

//! A connection's socket as hyper, or TLS, reads and writes it, and what viewers' tasks want to know of it.
//!
//! **Closing while the peer is still sending.** A request may be answered before its body has
//! arrived: a wrong password, a body that is too large. Closing then with unread bytes makes the
//! kernel send a reset, which destroys the answer on its way; the sender would see "connection
//! reset" instead of the reason. So the answer is sent, our half is closed, and what still arrives
//! is thrown away, within bounds, until the peer has read the answer and closes its half.
//!
//! **How far sending is.** A stream must know whether its last frame has left before it sends a
//! newer one, so the socket is shared with [`Peer`](super::Peer).

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use runtime::socket::{SendQueue, send_queue};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Sleep;

use super::{Admitted, Observer};

/// Longest time for throwing away.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Most that is thrown away: several times the largest frame that anybody sends.
const MAX_BYTES: usize = 64 << 20;

/// A socket and how far it is; shared between the connection and whoever answers on it.
#[derive(Debug)]
pub struct Wire {
    /// Never contended: one task reads, writes and asks.
    stream: Mutex<TcpStream>,
    /// Bytes of the present request may still be on their way.
    unread: AtomicBool,
    read: AtomicU64,
    written: AtomicU64,
    /// Nothing is left in the program's own buffers.
    flushed: AtomicBool,
    /// For that.
    waiting: Notify,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Wire {
        Wire {
            stream: Mutex::new(stream),
            unread: AtomicBool::new(false),
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            flushed: AtomicBool::new(true),
            waiting: Notify::new(),
        }
    }

    /// Whether the peer may still be sending when the connection is closed.
    pub fn set_unread(&self, unread: bool) {
        self.unread.store(unread, Ordering::Relaxed);
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes that were handed to the kernel so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Something is about to be sent, and [`Wire::flushed`] waits for it.
    pub fn begin(&self) {
        self.flushed.store(false, Ordering::Relaxed);
    }

    /// Waits until the kernel has all of what was sent.
    pub async fn flushed(&self) {
        loop {
            let flushed = self.waiting.notified();
            let mut flushed = std::pin::pin!(flushed);
            // It may have happened meanwhile.
            flushed.as_mut().enable();
            if self.flushed.load(Ordering::Relaxed) {
                return;
            }
            flushed.await;
        }
    }

    /// What the kernel still has to deliver.
    pub fn queue(&self) -> SendQueue {
        // It is a TCP socket, so it has one.
        send_queue(&*self.stream()).unwrap_or_default()
    }

    fn stream(&self) -> MutexGuard<'_, TcpStream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sent_all(&self) {
        if !self.flushed.swap(true, Ordering::Relaxed) {
            self.waiting.notify_waiters();
        }
    }
}

/// The end of a [`Wire`] that hyper has, or TLS.
pub(super) struct Line {
    wire: Arc<Wire>,
    /// An upgraded connection, which outlives hyper's part of it, keeps its place.
    _admitted: Admitted,
    limit: StallLimit,
    /// Runs while the kernel takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    rest: Option<Rest>,
}

/// How long a peer may take nothing of what is written, and who counts those that do longer. hyper
/// has no such limit, and does not ask a stream that could have one while its own buffer is full.
#[derive(Debug, Clone)]
pub(super) struct StallLimit {
    pub timeout: Duration,
    pub observer: Arc<dyn Observer>,
}

struct Rest {
    left: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Line {
    pub(super) fn new(wire: Arc<Wire>, admitted: Admitted, limit: StallLimit) -> Line {
        Line { wire, _admitted: admitted, limit, stalled: None, rest: None }
    }

    pub(super) fn wire(&self) -> Arc<Wire> {
        Arc::clone(&self.wire)
    }

    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(outcome) => {
                self.stalled = None;
                let n = *outcome.as_ref().unwrap_or(&0);
                self.wire.written.fetch_add(n as u64, Ordering::Relaxed);
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                let timeout = self.limit.timeout;
                let stalled =
                    self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                ready!(stalled.as_mut().poll(cx));
                self.limit.observer.stalled();
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut *self.wire.stream()).poll_read(cx, buf))?;
        let n = buf.filled().len() - before;
        self.wire.read.fetch_add(n as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut *self.wire.stream()).poll_write(cx, buf);
        self.wrote(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut *self.wire.stream()).poll_write_vectored(cx, bufs);
        self.wrote(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper calls this when its own buffer is empty, and a TCP socket has none in between.
        self.wire.sent_all();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut stream = this.wire.stream();
        if this.rest.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            if !this.wire.unread.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let rest = this.rest.get_or_insert_with(|| Rest {
            left: MAX_BYTES,
            deadline: Box::pin(tokio::time::sleep(MAX_TIME)),
        });
        let mut scratch = [MaybeUninit::uninit(); 16 << 10];
        loop {
            let mut buf = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut *stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && rest.left > 0 => {
                    rest.left = rest.left.saturating_sub(buf.filled().len());
                }
                // The peer is done, or gone, or does not come to an end.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return rest.deadline.as_mut().poll(cx).map(Ok),
            }
        }
    }
}

//! Closing a connection whose peer is still sending.
//!
//! A request may be answered before its body has arrived: a wrong password, a body that is too
//! large. Closing then with unread bytes makes the kernel send a reset, which destroys the answer
//! on its way; the sender would see "connection reset" instead of the reason. So the answer is
//! sent, our half is closed, and what still arrives is thrown away, within bounds, until the peer
//! has read the answer and closes its half.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// Longest time for throwing away.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Most that is thrown away: several times the largest frame that anybody sends.
const MAX_BYTES: usize = 64 << 20;

/// See the module's documentation.
pub(super) struct Lingering {
    stream: TcpStream,
    unread: Arc<AtomicBool>,
    rest: Option<Rest>,
}

struct Rest {
    left: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Lingering {
    /// `unread` says whether the peer may still be sending when the connection is closed.
    pub(super) fn new(stream: TcpStream, unread: Arc<AtomicBool>) -> Lingering {
        Lingering { stream, unread, rest: None }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.rest.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.unread.load(Ordering::Relaxed) {
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
            match Pin::new(&mut this.stream).poll_read(cx, &mut buf) {
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

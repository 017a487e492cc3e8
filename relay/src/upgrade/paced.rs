//! A peer's bytes, no faster than it may send them. What comes faster waits in the kernel's buffers, and then at the
//! peer.
//!
//! A message can consist of any number of fragments of no bytes, which are taken apart before anybody here sees them:
//! at a network's full rate, that is all that a processor does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ladder::Mono;
use runtime::clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// The rate holds over this long.
const SPAN: Duration = Duration::from_secs(1);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Paced<T> {
    inner: T,
    bytes_per_second: usize,
    left: usize,
    since: Mono,
    /// Runs while nothing is left.
    rest: Option<Pin<Box<Sleep>>>,
}

impl<T> Paced<T> {
    pub(super) fn new(inner: T, bytes_per_second: usize) -> Paced<T> {
        let since = clock::mono();
        Paced { inner, bytes_per_second, left: bytes_per_second, since, rest: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(rest) = &mut this.rest {
            ready!(rest.as_mut().poll(cx));
            this.rest = None;
        }
        let now = clock::mono();
        if now.since(this.since) >= SPAN {
            (this.since, this.left) = (now, this.bytes_per_second);
        }
        if this.left == 0 {
            ready!(this.rest.insert(Box::pin(tokio::time::sleep(SPAN))).as_mut().poll(cx));
            this.rest = None;
        }
        if this.left >= buf.remaining() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            this.left -= buf.filled().len() - before;
            return Poll::Ready(Ok(()));
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(this.left));
        ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
        let length = part.filled().len();
        buf.advance(length);
        this.left -= length;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_comes_faster_waits_and_nothing_is_lost() {
        let (mut peer, ours) = tokio::io::duplex(1 << 16);
        let mut paced = Paced::new(ours, 1_000);
        peer.write_all(&[7; 1_500]).await.unwrap();
        let mut first = [0; 1_000];
        paced.read_exact(&mut first).await.unwrap();
        let mut more = [0; 500];
        let soon = tokio::time::timeout(Duration::from_millis(50), paced.read(&mut more));
        assert!(soon.await.is_err(), "it has to wait");
        paced.read_exact(&mut more).await.unwrap();
        assert_eq!((first, more), ([7; 1_000], [7; 500]));
    }

    #[tokio::test]
    async fn the_end_is_told() {
        let (peer, ours) = tokio::io::duplex(16);
        drop(peer);
        assert_eq!(Paced::new(ours, 10).read(&mut [0; 4]).await.unwrap(), 0);
    }
}

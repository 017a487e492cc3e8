//! Reads an upload's body within bounds of length and time.
//!
//! warp's own limit refuses every body without Content-Length and believes every one that has it;
//! this reader counts.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use warp::Buf;

use crate::board::Refused;

/// Reserved for a body whose length nobody told.
const FIRST_RESERVE: usize = 64 << 10;

/// Reads all of it.
pub(crate) async fn read<B: Buf, E>(
    body: impl Stream<Item = Result<B, E>>,
    told: Option<usize>,
    limit: usize,
    deadline: Duration,
) -> Result<Bytes, Refused> {
    match tokio::time::timeout(deadline, collect(body, told, limit)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Refused::TooSlow),
    }
}

async fn collect<B: Buf, E>(
    body: impl Stream<Item = Result<B, E>>,
    told: Option<usize>,
    limit: usize,
) -> Result<Bytes, Refused> {
    let mut body = std::pin::pin!(body);
    let mut whole = BytesMut::with_capacity(told.unwrap_or(FIRST_RESERVE).min(limit));
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| Refused::Cut)?;
        if piece.remaining() > limit - whole.len() {
            return Err(Refused::TooLarge);
        }
        whole.put(piece);
    }
    // Growing doubles; what is held for as long as the camera is silent should be no larger than
    // the picture.
    let slack = whole.capacity() - whole.len();
    Ok(if slack > whole.len() / 8 { Bytes::copy_from_slice(&whole) } else { whole.freeze() })
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    type Piece = Result<Bytes, ()>;

    async fn read_pieces(pieces: Vec<Piece>, told: Option<usize>) -> Result<Bytes, Refused> {
        read(stream::iter(pieces), told, 10, Duration::from_secs(30)).await
    }

    fn bytes(text: &'static str) -> Piece {
        Ok(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn the_limit_holds_whatever_was_told() {
        for told in [None, Some(0), Some(10), Some(usize::MAX)] {
            let whole = read_pieces(vec![bytes("01234"), bytes(""), bytes("56789")], told).await;
            assert_eq!(whole, Ok(Bytes::from_static(b"0123456789")));
            let beyond = read_pieces(vec![bytes("01234"), bytes("567890")], told).await;
            assert_eq!(beyond, Err(Refused::TooLarge));
        }
        assert_eq!(read_pieces(vec![], None).await, Ok(Bytes::new()));
        assert_eq!(read_pieces(vec![bytes("0"), Err(())], None).await, Err(Refused::Cut));
    }

    #[tokio::test]
    async fn it_has_a_deadline() {
        let never = stream::pending::<Piece>();
        let found = read(never, None, 10, Duration::from_millis(1)).await;
        assert_eq!(found, Err(Refused::TooSlow));
    }
}

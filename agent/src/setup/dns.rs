//! Every name leads here: what a phone that has joined the setup access point asks for is answered with
//! the appliance's own address, so that its probe for the Internet finds the page.
//!
//! A responder of our own: all it has to read is a question's end, and a resolver would want to know the
//! rest of the world. [`answer`] is pure.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

/// RFC 1035, 4.2.1: a datagram without EDNS. What is longer is no question of a phone's.
const MAX_DATAGRAM: usize = 512;

/// RFC 1035, 4.1.1.
const HEADER: usize = 12;

/// RFC 1035, 2.3.4.
const MAX_LABEL: u8 = 63;
const MAX_NAME: usize = 255;

const TYPE_A: [u8; 2] = [0, 1];
const CLASS_IN: [u8; 2] = [0, 1];

/// Answers until `stop`. One datagram at a time, nothing is remembered: there is nothing to fill.
pub(super) async fn run(socket: Arc<UdpSocket>, address: Ipv4Addr, stop: CancellationToken) {
    let answering = async {
        let mut datagram = [0; MAX_DATAGRAM + 1];
        loop {
            // An error is that of one peer who is gone (ICMP), and of none that follow.
            let Ok((length, peer)) = socket.recv_from(&mut datagram).await else { continue };
            let question = datagram.get(..length).unwrap_or_default();
            if let Some(answer) = answer(question, address) {
                // Who does not get it asks again.
                let _ = socket.try_send_to(&answer, peer);
            }
        }
    };
    let _: Option<()> = stop.run_until_cancelled(answering).await;
}

/// The answer to a question; `None` for what is none. Names have an IPv4 address and nothing else.
pub(super) fn answer(question: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    if question.len() > MAX_DATAGRAM {
        return None;
    }
    let (header, rest) = question.split_first_chunk::<HEADER>()?;
    let [id0, id1, flags0, _, count0, count1, ..] = *header;
    // A query (QR 0) of the standard kind (OPCODE 0) with one question.
    if flags0 & 0b1111_1000 != 0 || [count0, count1] != [0, 1] {
        return None;
    }
    let (asked, kind) = one_question(rest)?;
    let has_address = kind == TYPE_A;
    // An answer (QR), ours to give (AA); RD as it was, and recursion there is (RA).
    let flags = [0b1000_0100 | (flags0 & 1), 0b1000_0000];
    let mut out = vec![id0, id1, flags[0], flags[1]];
    out.extend([0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    out.extend(asked);
    if has_address {
        // The name is the question's (a pointer to byte 12), and holds for no second longer.
        out.extend([0xc0, 12]);
        out.extend(TYPE_A);
        out.extend(CLASS_IN);
        out.extend([0, 0, 0, 0]);
        out.extend([0, 4]);
        out.extend(address.octets());
    }
    Some(out)
}

/// The bytes of the first question in `rest`, and its type.
fn one_question(rest: &[u8]) -> Option<(&[u8], [u8; 2])> {
    let mut at = 0;
    loop {
        let length = *rest.get(at)?;
        at += 1;
        if length == 0 {
            break;
        }
        // Pointers have no place in a question.
        if length > MAX_LABEL || at > MAX_NAME {
            return None;
        }
        at += usize::from(length);
    }
    let tail: [u8; 4] = rest.get(at..at + 4)?.try_into().ok()?;
    let [kind0, kind1, class0, class1] = tail;
    ([class0, class1] == CLASS_IN).then_some(())?;
    Some((rest.get(..at + 4)?, [kind0, kind1]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: Ipv4Addr = Ipv4Addr::new(192, 168, 223, 1);

    fn question(name: &str, kind: u8) -> Vec<u8> {
        let mut out = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            out.push(u8::try_from(label.len()).unwrap());
            out.extend(label.bytes());
        }
        out.extend([0, 0, kind, 0, 1]);
        out
    }

    #[test]
    fn every_name_is_here() {
        let asked = question("connectivitycheck.gstatic.com", 1);
        let found = answer(&asked, HERE).unwrap();
        assert_eq!(found[..12], [0xab, 0xcd, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(found[12..asked.len()], asked[12..]);
        let end = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 168, 223, 1];
        assert_eq!(found[asked.len()..], end);
        // With EDNS behind the question.
        let with_more = [asked.as_slice(), &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(answer(&with_more, HERE), Some(found));
    }

    #[test]
    fn no_other_kind_has_an_answer_but_the_name_is_there() {
        for kind in [28, 65, 16] {
            let asked = question("captive.apple.com", kind);
            let found = answer(&asked, HERE).unwrap();
            assert_eq!(found[2..8], [0x85, 0x80, 0, 1, 0, 0]);
            assert_eq!(found.len(), asked.len());
        }
    }

    #[test]
    fn what_is_no_question_gets_no_answer() {
        let asked = question("a.example", 1);
        let with = |at: usize, byte: u8| {
            let mut other = asked.clone();
            other[at] = byte;
            answer(&other, HERE)
        };
        // An answer, another kind of request, two questions, a pointer, another class.
        for wrong in
            [with(2, 0x80), with(2, 0x28), with(5, 2), with(12, 0xc0), with(asked.len() - 1, 3)]
        {
            assert_eq!(wrong, None);
        }
        for length in 0..asked.len() {
            assert_eq!(answer(&asked[..length], HERE), None, "{length}");
        }
        assert_eq!(answer(&vec![0; MAX_DATAGRAM + 1], HERE), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_say_more_than_was_asked(
            bytes in proptest::collection::vec(any::<u8>(), 0..600)
        ) {
            let found = answer(&bytes, HERE).unwrap_or_default();
            prop_assert!(found.len() <= bytes.len() + 16);
        }
    }
}

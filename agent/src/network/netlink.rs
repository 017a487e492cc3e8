//! Questions to the kernel over netlink (netlink(7)), and its answers as they come.
//!
//! Only what is asked for is read, and what is not known is passed over: a decoder of everything
//! refuses a whole interface for one attribute that a newer kernel made longer, and an interface that
//! seems to be gone gets its driver reloaded. What the attributes mean does not belong here.
//!
//! These calls block, the sending too: the kernel answers while it takes the question, behind locks
//! that a stuck driver may hold. So they run on a thread of their own (`mod.rs`).

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NlasIterator,
};
use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
};
use nix::sys::time::TimeVal;

/// What the kernel has to say it says at once.
const WITHIN: Duration = Duration::from_secs(1);

/// The kernel's largest answer, in bytes (`netlink_recvmsg` in net/netlink/af_netlink.c).
const MAX_ANSWER: usize = 32 << 10;

/// linux/netlink.h, `struct nlmsghdr`.
const HEADER: usize = 16;

/// linux/netlink.h, `NLM_F_DUMP_INTR`: what was being listed has changed meanwhile.
const CHANGED: u16 = 0x10;

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Question {
    kind: u16,
    dump: bool,
    body: Vec<u8>,
}

impl Question {
    /// For one thing. `head` is the structure that messages of this `kind` begin with.
    pub(super) fn one(kind: u16, head: &[u8]) -> Question {
        Question { kind, dump: false, body: head.to_vec() }
    }

    /// For all there are.
    pub(super) fn all(kind: u16, head: &[u8]) -> Question {
        Question { dump: true, ..Question::one(kind, head) }
    }

    /// With an attribute more; `value` is a few bytes.
    pub(super) fn with(mut self, attribute: u16, value: &[u8]) -> Question {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.body.extend(length.to_ne_bytes());
        self.body.extend(attribute.to_ne_bytes());
        self.body.extend(value);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
        self
    }

    fn message(&self, seq: u32) -> Vec<u8> {
        let length = HEADER + self.body.len();
        let flags = NLM_F_REQUEST | if self.dump { NLM_F_DUMP } else { 0 };
        let mut message = Vec::with_capacity(length);
        message.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        message.extend(self.kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend(seq.to_ne_bytes());
        // The port: the kernel fills in ours.
        message.extend(0_u32.to_ne_bytes());
        message.extend(&self.body);
        message
    }
}

/// How far an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    MoreToCome,
    Complete,
}

/// A netlink socket that is opened when it is needed, and anew after anything went wrong with it.
#[derive(Debug)]
pub(super) struct Socket {
    protocol: SockProtocol,
    open: Option<OwnedFd>,
    seq: u32,
    buffer: Vec<u8>,
}

impl Socket {
    pub(super) fn new(protocol: SockProtocol) -> Socket {
        Socket { protocol, open: None, seq: 0, buffer: vec![0; MAX_ANSWER] }
    }

    /// Asks, and gives `each` the contents of every message of the answer.
    ///
    /// # Errors
    /// What the kernel answers instead; `EAGAIN`: nothing within a second; `EINTR`: what was being
    /// listed changed, and is not complete.
    pub(super) fn ask(
        &mut self,
        question: &Question,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Errno> {
        self.seq = self.seq.wrapping_add(1);
        let outcome = self.exchange(question, &mut each);
        // What is still to come of this answer is not for the next question.
        let over = outcome.as_ref().map_or_else(|(_, over)| *over, |()| true);
        if !over {
            self.open = None;
        }
        outcome.map_err(|(errno, _)| errno)
    }

    /// An error comes with whether the answer is over.
    fn exchange(
        &mut self,
        question: &Question,
        each: &mut impl FnMut(&[u8]),
    ) -> Result<(), (Errno, bool)> {
        let broken = |errno| (errno, false);
        let open = match &self.open {
            Some(open) => open,
            None => self.open.insert(open(self.protocol).map_err(broken)?),
        };
        let fd = open.as_raw_fd();
        send(fd, &question.message(self.seq), MsgFlags::empty()).map_err(broken)?;
        loop {
            let length = recv(fd, &mut self.buffer, MsgFlags::empty()).map_err(broken)?;
            let datagram = self.buffer.get(..length).ok_or((Errno::EMSGSIZE, false))?;
            if read(datagram, self.seq, question.dump, each)? == Progress::Complete {
                return Ok(());
            }
        }
    }
}

fn open(protocol: SockProtocol) -> Result<OwnedFd, Errno> {
    let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    let seconds = WITHIN.as_secs().try_into().unwrap_or(1);
    setsockopt(&fd, ReceiveTimeout, &TimeVal::new(seconds, 0))?;
    Ok(fd)
}

/// Reads the messages of one datagram. An error comes with whether the answer is over.
fn read(
    mut datagram: &[u8],
    seq: u32,
    dump: bool,
    each: &mut impl FnMut(&[u8]),
) -> Result<Progress, (Errno, bool)> {
    while !datagram.is_empty() {
        let message = NetlinkBuffer::new_checked(datagram).map_err(|_| (Errno::EBADMSG, false))?;
        let length = usize::try_from(message.length()).unwrap_or(usize::MAX);
        let contents = datagram.get(HEADER..length).ok_or((Errno::EBADMSG, false))?;
        let (kind, flags) = (message.message_type(), message.flags());
        let ours = message.sequence_number() == seq;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        if !ours {
            continue;
        }
        if dump && flags & CHANGED != 0 {
            return Err((Errno::EINTR, false));
        }
        match kind {
            // Both begin with a negative errno, or 0 (netlink(7)).
            NLMSG_DONE | NLMSG_ERROR => {
                let code = u32_of(contents).unwrap_or_default().cast_signed();
                return match code {
                    0 => Ok(Progress::Complete),
                    code => Err((Errno::from_raw(code.wrapping_neg()), true)),
                };
            }
            _ => each(contents),
        }
        if !dump {
            return Ok(Progress::Complete);
        }
    }
    Ok(Progress::MoreToCome)
}

/// The attributes in `bytes`, as far as they make sense, as (type, value).
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).filter_map(|attribute| {
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        Some((kind, attribute.into_inner().get(4..length)?))
    })
}

/// The first attribute of type `kind`.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// The number that `bytes` begin with, in the machine's byte order as everywhere in netlink.
pub(super) fn u32_of(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_ne_bytes)
}

/// See [`u32_of`].
pub(super) fn u16_of(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().copied().map(u16::from_ne_bytes)
}

/// A name that ends with a zero byte.
pub(super) fn name_of(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// The contents of a message, for tests: what it begins with, and attributes.
#[cfg(test)]
pub(super) fn message(head: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let plain = Question::one(0, head);
    attributes.iter().fold(plain, |all, (kind, value)| all.with(*kind, value)).body
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, flags: u16, seq: u32, contents: &[u8]) -> Vec<u8> {
        let mut message = Question::one(kind, contents).message(seq);
        message[6..8].copy_from_slice(&flags.to_ne_bytes());
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    type Ended = Result<Progress, (Errno, bool)>;

    fn heard(datagram: &[u8], dump: bool) -> (Vec<Vec<u8>>, Ended) {
        let mut heard = Vec::new();
        let end = read(datagram, 7, dump, &mut |contents| heard.push(contents.to_vec()));
        (heard, end)
    }

    #[test]
    fn a_list_ends_where_the_kernel_says_so() {
        let part = [message(16, 2, 7, b"one"), message(16, 2, 7, b"two")].concat();
        let two = vec![b"one".to_vec(), b"two".to_vec()];
        assert_eq!(heard(&part, true), (two.clone(), Ok(Progress::MoreToCome)));
        let end = message(NLMSG_DONE, 2, 7, &0_i32.to_ne_bytes());
        assert_eq!(heard(&[part, end].concat(), true), (two, Ok(Progress::Complete)));
        let one = message(16, 0, 7, b"one");
        assert_eq!(heard(&one, false), (vec![b"one".to_vec()], Ok(Progress::Complete)));
    }

    #[test]
    fn what_goes_wrong_is_an_error_and_another_answer_is_not_ours() {
        let refused = message(NLMSG_ERROR, 0, 7, &(-2_i32).to_ne_bytes());
        assert_eq!(heard(&refused, true).1, Err((Errno::ENOENT, true)));
        let failed = message(NLMSG_DONE, 2, 7, &(-100_i32).to_ne_bytes());
        assert_eq!(heard(&failed, true).1, Err((Errno::ENETDOWN, true)));
        let changed = message(16, 2 | CHANGED, 7, b"one");
        assert_eq!(heard(&changed, true), (vec![], Err((Errno::EINTR, false))));
        let late = message(16, 0, 6, b"late");
        assert_eq!(heard(&late, false), (vec![], Ok(Progress::MoreToCome)));
        assert_eq!(heard(&late[..10], false).1, Err((Errno::EBADMSG, false)));
    }

    #[test]
    fn attributes_are_found_up_to_where_they_make_no_sense() {
        let question = Question::one(0, &[]).with(3, b"wlan0\0").with(5, &2_u32.to_ne_bytes());
        let mut bytes = question.body;
        assert_eq!(attribute(&bytes, 3).map(name_of).as_deref(), Some("wlan0"));
        assert_eq!(attribute(&bytes, 5).and_then(u32_of), Some(2));
        assert_eq!(attribute(&bytes, 4), None);
        bytes.extend([0xff, 0xff, 9, 0, 1]);
        assert_eq!(attributes(&bytes).map(|(kind, _)| kind).collect::<Vec<_>>(), [3, 5]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = heard(&bytes, true);
            let _ = attributes(&bytes).count();
        }
    }

    #[test]
    fn the_kernel_answers_and_what_it_refuses_does_not_hurt() {
        let mut socket = Socket::new(SockProtocol::NetlinkRoute);
        let links = Question::all(libc::RTM_GETLINK, &[0; 16]);
        let nonsense = Question::one(libc::RTM_GETLINK, &[0; 16]).with(libc::IFLA_IFNAME, b"-\0");
        for _ in 0..2 {
            let mut count = 0;
            socket.ask(&links, |_| count += 1).unwrap();
            assert!(count > 0);
            assert_eq!(socket.ask(&nonsense, |_| ()), Err(Errno::ENODEV));
        }
    }
}

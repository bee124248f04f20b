use super::*;
use std::os::fd::OwnedFd;

/// One message: length, type, flags, sequence, the sender's port.
fn message(kind: i32, flags: u16, sequence: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + content.len()).expect("short");
    let kind = u16::try_from(kind).expect("16 bits");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(content);
    bytes
}

/// A netlink socket and the end at which a test plays the kernel.
fn with_kernel() -> (Netlink, OwnedFd) {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (fd, kernel) =
        socket::socketpair(AddressFamily::Unix, SockType::Datagram, None, flags).expect("descriptors");
    (Netlink { fd, sequence: 0, buffer: vec![0; LARGEST_MESSAGE] }, kernel)
}

/// Says, before it is asked, what it will answer.
fn says(kernel: &OwnedFd, datagram: &[u8]) {
    socket::send(kernel.as_raw_fd(), datagram, MsgFlags::empty()).expect("room");
}

/// Two datagrams: 1, then 2 and the end; in which of the three it says that it was interrupted.
fn says_a_dump(kernel: &OwnedFd, sequence: u32, interrupted: Option<usize>) {
    let flags = |at: usize| if interrupted == Some(at) { 2 | DUMP_INTERRUPTED } else { 2 };
    let item = i32::from(libc::RTM_NEWADDR);
    says(kernel, &message(item, flags(0), sequence, &[1; 4]));
    let end = message(libc::NLMSG_DONE, flags(2), sequence, &[0; 4]);
    says(kernel, &[message(item, flags(1), sequence, &[2; 4]), end].concat());
}

fn dumped(netlink: &mut Netlink) -> io::Result<Vec<u8>> {
    netlink.dump(Request::new(libc::RTM_GETADDR, 0, &[0; 8]), |message| message.content.first().copied())
}

#[test]
fn a_dump_that_was_interrupted_is_begun_again() {
    let (mut netlink, kernel) = with_kernel();
    for (sequence, interrupted) in [(1, Some(0)), (2, Some(1)), (3, Some(2)), (4, None)] {
        says_a_dump(&kernel, sequence, interrupted);
    }
    assert_eq!(dumped(&mut netlink).expect("the fourth"), [1, 2]);
    says_a_dump(&kernel, 5, None);
    assert_eq!(dumped(&mut netlink).expect("the first"), [1, 2]);
}

#[test]
fn one_that_is_interrupted_without_end_is_an_error() {
    let (mut netlink, kernel) = with_kernel();
    let answering = std::thread::spawn(move || {
        for sequence in 1..=MOST_DUMPS {
            let mut request = [0; 64];
            socket::recv(kernel.as_raw_fd(), &mut request, MsgFlags::empty()).expect("asked");
            says_a_dump(&kernel, sequence, Some(1));
        }
        kernel
    });
    assert!(dumped(&mut netlink).is_err());
    drop(answering.join().expect("asked as often as that, and not more"));
}

#[test]
fn of_many_requests_the_last_is_answered_and_the_next_answer_is_not_taken_for_it() {
    let (mut netlink, kernel) = with_kernel();
    let refused = (-libc::EADDRNOTAVAIL).to_ne_bytes();
    let many = u32::try_from(MOST_AT_ONCE).expect("few") + 2;
    // One of the first is refused; so is the very last, which makes no difference.
    says(&kernel, &message(libc::NLMSG_ERROR, 0, 5, &refused));
    says(&kernel, &message(libc::NLMSG_ERROR, 0, many - 2, &[0; 4]));
    says(&kernel, &message(libc::NLMSG_ERROR, 0, many, &refused));
    let requests = || (0..many).map(|_| Request::new(libc::RTM_DELADDR, 0, &[0; 8]));
    netlink.request_all(requests()).expect("all seen to");
    let mut sent = [0; 8_192];
    for expected in [MOST_AT_ONCE, 2] {
        let length = socket::recv(kernel.as_raw_fd(), &mut sent, MsgFlags::empty()).expect("sent");
        let flags: Vec<u16> = messages(&sent[..length]).map(|message| message.flags).collect();
        assert_eq!(flags.len(), expected);
        let acknowledged = flags.iter().rposition(|flags| i32::from(*flags) & libc::NLM_F_ACK == 0);
        assert_eq!(acknowledged, Some(expected - 2), "the last alone");
    }
    netlink.request_all(std::iter::empty()).expect("nothing is sent");
    says_a_dump(&kernel, many + 1, None);
    assert_eq!(dumped(&mut netlink).expect("read"), [1, 2]);
}

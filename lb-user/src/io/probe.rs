//! Asks a backend by a frame of its own making, past the host's stack, which would not send from such addresses and would
//! throw the answers away.
//!
//! Owns a packet socket for as long as one question lasts. What is asked, and what answers it, is `core::probe`'s.

use crate::core::probe::{Answer, Probe};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// How often a question is put: the first may be lost where a neighbour is looked up.
const TRIES: u32 = 3;
const WAIT: Duration = Duration::from_millis(400);
/// How long one read waits.
const READ_MILLISECONDS: i64 = 50;
/// Headers are all that is looked at.
const FRAME_BYTES: usize = 256;

/// Puts a question to the host with that MAC address, by that interface, and waits for what answers it: about a second
/// where nothing does. Blocks.
///
/// # Errors
/// There is no such interface, it has no Ethernet address, or the kernel gives out no packet socket.
pub fn ask(interface: &str, backend_mac: [u8; 6], probe: &Probe) -> io::Result<Option<Answer>> {
    let link = link(interface)?;
    let missing = || io::Error::new(io::ErrorKind::Unsupported, "the interface has no Ethernet address");
    let mac = link.addr().ok_or_else(missing)?;
    let families = || io::Error::new(io::ErrorKind::InvalidInput, "addresses of two families");
    let question = probe.question(mac, backend_mac).ok_or_else(families)?;

    let socket =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, Some(SockProtocol::EthAll))?;
    bind(socket.as_raw_fd(), &link)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(READ_MILLISECONDS))?;
    for _ in 0..TRIES {
        sendto(socket.as_raw_fd(), &question, &link, MsgFlags::empty())?;
        let begun = Instant::now();
        while begun.elapsed() < WAIT {
            let mut frame = [0; FRAME_BYTES];
            let bytes = match recv(socket.as_raw_fd(), &mut frame, MsgFlags::empty()) {
                Ok(bytes) => bytes,
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let answer = probe.answer_in(frame.get(..bytes).unwrap_or(&frame));
            if answer == Some(Answer::Accepted)
                && let Some(goodbye) = probe.goodbye(mac, backend_mac)
            {
                sendto(socket.as_raw_fd(), &goodbye, &link, MsgFlags::empty())?;
            }
            if answer.is_some() {
                return Ok(answer);
            }
        }
    }
    Ok(None)
}

fn link(interface: &str) -> io::Result<LinkAddr> {
    let mut all = getifaddrs()?.filter(|one| one.interface_name == interface);
    let found = all.find_map(|one| one.address?.as_link_addr().copied());
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such interface"))
}

//! Which connections of this host show another address than one of its own: the kernel's list of them.
//!
//! Owns reading that list. A list that cannot be read is taken for one without any.

use nix::ifaddrs::getifaddrs;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What the kernel calls connections that need no packets any more (TIME_WAIT, CLOSE), and listeners (LISTEN).
const OVER: [&str; 3] = ["06", "07", "0A"];

/// Those of these that connections are open to which show another's address.
pub(super) fn shown_to(backends: &BTreeSet<SocketAddr>) -> BTreeSet<SocketAddr> {
    let lists = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
    // While it is read connections come and go, and the kernel may leave one out: not twice, it is hoped.
    let twice = lists.iter().cycle().take(2 * lists.len());
    let text: String = twice.filter_map(|list| std::fs::read_to_string(list).ok()).collect();
    let own = own_addresses();
    let open = text.lines().filter_map(ends).filter(|(local, _)| !own.contains(&local.ip()));
    open.map(|(_, remote)| remote).filter(|remote| backends.contains(remote)).collect()
}

fn own_addresses() -> BTreeSet<IpAddr> {
    let interfaces = getifaddrs().into_iter().flatten();
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
    });
    addresses.collect()
}

/// Both ends of a line's connection, if it is one.
fn ends(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
    if OVER.contains(&state) {
        return None;
    }
    Some((end(local)?, end(remote)?))
}

/// `0100007F:0050`: words of 32 bits in the byte order of the host, and the port.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let address: IpAddr = match address.len() {
        8 => word(0)?.into(),
        32 => {
            let bytes: Vec<u8> = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            address.to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn both_ends_of_an_open_connection_are_read_from_the_kernels_list() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
            let both = (stream.local_addr().expect("bound"), stream.peer_addr().expect("connected"));
            let lists = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
            let is_told = || {
                let text: String =
                    lists.iter().map(|list| std::fs::read_to_string(list).expect("a list")).collect();
                text.lines().filter_map(ends).any(|ends| ends == both)
            };
            // Connections of other tests come and go while it is read.
            assert!((0..20).any(|_| is_told()), "{both:?}");
            assert_eq!(shown_to(&BTreeSet::from([both.1])), BTreeSet::new(), "it shows its own address");
        }
    }

    #[test]
    fn what_is_over_or_no_connection_counts_for_nothing() {
        let line = |state: &str| format!("  5: 0100007F:0050 0200007F:1F90 {state} 00000000:00000000");
        assert!(ends(&line("01")).is_some());
        assert!(OVER.iter().all(|state| ends(&line(state)).is_none()));
        for line in ["", "  sl  local_address rem_address st", "0: 01:1 02:2 01", "0: 0100007F 0100007F:1 01"]
        {
            assert_eq!(ends(line), None, "{line}");
        }
    }
}

//! Floods: packets from sources that do not exist, at a rate, for a while. Only ever in the lab's namespaces.
//!
//! Owns the packets and the sending. What becomes of the service meanwhile, tests and benchmarks watch.

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto, socket,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::lab::{Lab, stay_on_one_cpu};

/// What a flood is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// SYNs.
    Syn,
    /// ACKs of no connection.
    Ack,
    /// First fragments that no others follow.
    Fragment,
    /// Errors about connections that do not exist.
    IcmpError,
    /// Pings.
    Echo,
}

/// A flood to be.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// Of what.
    pub kind: Kind,
    /// Where to.
    pub target: SocketAddr,
    /// How many packets, at most.
    pub packets: u32,
    /// Packets in a second, at most.
    pub per_second: u32,
    /// The first of the sources' numbers: two floods with ranges of their own share no source.
    pub first: u32,
}

/// Packets between two looks at the clock.
const BURST: u32 = 64;
/// A network for benchmarks, RFC 2544; and one for documents, RFC 3849.
const SOURCES: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(198, 18, 0, 0), Ipv6Addr::new(0x2001, 0xdb8, 0xf100, 0, 0, 0, 0, 0));

/// Lets answers to the sources end at the lab's router: nobody is there, and nobody is to look for them.
pub fn swallow_answers(lab: &Lab) -> Result<()> {
    for (family, network) in [("-4", "198.18.0.0/15"), ("-6", "2001:db8:f100::/48")] {
        let mut ip = lab.host("router").command("ip");
        let status =
            ip.args([family, "route", "replace", "blackhole", network]).status().context("ip route")?;
        ensure!(status.success(), "ip {family} route replace blackhole {network}: {status}");
    }
    Ok(())
}

impl Flood {
    /// This flood in so many parts that share no source, to be sent at one time.
    fn parts(self, count: u32) -> impl Iterator<Item = Self> {
        let (packets, per_second) = (self.packets / count, self.per_second / count);
        (0..count).map(move |part| Self { packets, per_second, first: self.first + part * packets, ..self })
    }

    /// Sends it from this thread's network, until all is sent or `stop` says so; how many packets left.
    fn send(&self, stop: &AtomicBool) -> Result<u32> {
        let sender = Sender::new(self.target)?;
        let begun = Instant::now();
        let (mut made, mut sent) = (0, 0);
        while made < self.packets && !stop.load(Ordering::Relaxed) {
            for number in made..(made + BURST).min(self.packets) {
                sent += u32::from(sender.send(&self.packet(self.first.wrapping_add(number)))?);
            }
            made = (made + BURST).min(self.packets);
            let due = Duration::from_secs(1) * made / self.per_second.max(1);
            if let Some(early) = due.checked_sub(begun.elapsed()) {
                std::thread::sleep(early); // poll: the clock; this is the flood's rate, nothing is waited for
            }
        }
        Ok(sent)
    }

    /// Sends it from the lab's client, a part from each CPU. Unless `stop` ends it, all of it must leave.
    pub fn send_from_all_cpus(self, lab: &Lab, stop: &AtomicBool) -> Result<()> {
        let cpus = std::thread::available_parallelism()?.get();
        let send = |cpu: usize, part: Self| {
            lab.host("client").inside(|| {
                stay_on_one_cpu(cpu)?;
                part.send(stop)
            })?
        };
        let sent = std::thread::scope(|scope| -> Result<u32> {
            let parts: Vec<_> = self
                .parts(cpus as u32)
                .enumerate()
                .map(|(cpu, part)| scope.spawn(move || send(cpu, part)))
                .collect();
            let mut sent = 0;
            for part in parts {
                sent += part.join().map_err(|_| anyhow!("the flood's thread panicked"))??;
            }
            Ok(sent)
        })?;
        ensure!(sent >= self.packets / 100 * 99, "{sent} packets were sent of {}", self.packets);
        Ok(())
    }

    fn packet(&self, number: u32) -> Vec<u8> {
        // Every source its own address, as far as there are, and a port that goes on from one round to the next.
        let (host, port) = (number & 0x1_ffff, 1024 + (number >> 17) as u16 + (number as u16 & 0x3fff));
        match self.target.ip() {
            IpAddr::V4(target) => {
                self.ipv4(Ipv4Addr::from(u32::from(SOURCES.0) + host), target, port, number)
            }
            IpAddr::V6(target) => {
                self.ipv6(Ipv6Addr::from(u128::from(SOURCES.1) + u128::from(host)), target, port, number)
            }
        }
    }

    fn ipv4(&self, source: Ipv4Addr, target: Ipv4Addr, port: u16, number: u32) -> Vec<u8> {
        let (source, target) = (source.octets(), target.octets());
        let (protocol, content) = match self.kind {
            Kind::IcmpError => (1, icmp_error_v4(source, target, number)),
            Kind::Echo => {
                let mut echo = echo(8, number);
                let sum = finish(sum(&echo));
                echo[2..4].copy_from_slice(&sum);
                (1, echo)
            }
            _ => (6, self.tcp(&source, &target, port, number)),
        };
        let fragment = if self.kind == Kind::Fragment { [0x20, 0] } else { [0x40, 0] };
        let length = (20 + content.len() as u16).to_be_bytes();
        // The kernel writes the checksum.
        let mut packet = vec![0x45, 0, length[0], length[1], (number >> 8) as u8, number as u8];
        packet.extend([fragment[0], fragment[1], 64, protocol, 0, 0]);
        packet.extend(source);
        packet.extend(target);
        packet.extend(content);
        packet
    }

    fn ipv6(&self, source: Ipv6Addr, target: Ipv6Addr, port: u16, number: u32) -> Vec<u8> {
        let (source, target) = (source.octets(), target.octets());
        let (header, content) = match self.kind {
            Kind::IcmpError => (58, icmp_error_v6(&source, &target, number)),
            Kind::Echo => {
                let mut echo = echo(128, number);
                let sum = checksum(&source, &target, 58, &echo);
                echo[2..4].copy_from_slice(&sum);
                (58, echo)
            }
            Kind::Fragment => {
                let mut fragment = vec![6, 0, 0, 1];
                fragment.extend(number.to_be_bytes());
                fragment.extend(self.tcp(&source, &target, port, number));
                (44, fragment)
            }
            _ => (6, self.tcp(&source, &target, port, number)),
        };
        let length = (content.len() as u16).to_be_bytes();
        let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], header, 64];
        packet.extend(source);
        packet.extend(target);
        packet.extend(content);
        packet
    }

    fn tcp(&self, source: &[u8], target: &[u8], port: u16, number: u32) -> Vec<u8> {
        let mut segment = port.to_be_bytes().to_vec();
        segment.extend(self.target.port().to_be_bytes());
        segment.extend(number.wrapping_mul(0x9e37_79b1).to_be_bytes());
        let (acknowledgement, flags) = if self.kind == Kind::Ack { (number, 0x10) } else { (0, 0x02) };
        segment.extend(acknowledgement.to_be_bytes());
        // A SYN as Linux sends it, so that it costs what a real one costs.
        let options: &[u8] =
            if flags == 2 { &[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7] } else { &[] };
        segment.extend([((5 + options.len() / 4) as u8) << 4, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
        segment.extend(options);
        let sum = checksum(source, target, 6, &segment);
        segment[16..18].copy_from_slice(&sum);
        segment
    }
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
}

/// The Internet checksum of what was summed.
fn finish(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// The same with a pseudo header.
fn checksum(source: &[u8], target: &[u8], protocol: u8, content: &[u8]) -> [u8; 2] {
    finish(sum(source) + sum(target) + u32::from(protocol) + content.len() as u32 + sum(content))
}

/// An echo request without its checksum.
fn echo(kind: u8, number: u32) -> Vec<u8> {
    let mut echo = vec![kind, 0, 0, 0];
    echo.extend(number.to_be_bytes());
    echo.extend([0; 56]);
    echo
}

/// Port unreachable, about a segment from the target to the source that was never sent.
fn icmp_error_v4(source: [u8; 4], target: [u8; 4], number: u32) -> Vec<u8> {
    let mut error = vec![3, 3, 0, 0, 0, 0, 0, 0];
    error.extend([0x45, 0, 0, 40, 0, 1, 0x40, 0, 60, 6, 0, 0]);
    error.extend(target);
    error.extend(source);
    error.extend(quoted_ports(number));
    let sum = finish(sum(&error));
    error[2..4].copy_from_slice(&sum);
    error
}

/// The same of the other family.
fn icmp_error_v6(source: &[u8; 16], target: &[u8; 16], number: u32) -> Vec<u8> {
    let mut error = vec![1, 4, 0, 0, 0, 0, 0, 0];
    error.extend([0x60, 0, 0, 0, 0, 20, 6, 60]);
    error.extend(target);
    error.extend(source);
    error.extend(quoted_ports(number));
    let sum = checksum(source, target, 58, &error);
    error[2..4].copy_from_slice(&sum);
    error
}

fn quoted_ports(number: u32) -> [u8; 8] {
    let port = (number as u16 | 1024).to_be_bytes();
    [0, 80, port[0], port[1], 0, 0, 0, 1]
}

/// A socket that takes whole IP packets.
struct Sender {
    socket: OwnedFd,
    target: SocketAddr,
}

impl Sender {
    fn new(target: SocketAddr) -> Result<Self> {
        let family = if target.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)
            .context("a raw socket")?;
        Ok(Self { socket, target })
    }

    /// Whether the packet left.
    fn send(&self, packet: &[u8]) -> Result<bool> {
        let fd = self.socket.as_raw_fd();
        let sent = match self.target {
            // The port of a raw socket's address is a protocol number, and must be 0.
            SocketAddr::V4(target) => {
                let address = SockaddrIn::from(SocketAddrV4::new(*target.ip(), 0));
                sendto(fd, packet, &address, MsgFlags::empty())
            }
            SocketAddr::V6(target) => {
                let address = SockaddrIn6::from(SocketAddrV6::new(*target.ip(), 0, 0, 0));
                sendto(fd, packet, &address, MsgFlags::empty())
            }
        };
        match sent {
            Ok(_) => Ok(true),
            // A queue on the way was full: that is what floods do.
            Err(nix::errno::Errno::ENOBUFS) => Ok(false),
            Err(error) => Err(error).context("sending a packet of a flood"),
        }
    }
}

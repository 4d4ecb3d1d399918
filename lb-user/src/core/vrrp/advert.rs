//! Advertisements: their bytes, and what makes a received one worthless.

use crate::model::{AdvertInterval, ChecksumForm, VirtualRouterId};
use std::net::IpAddr;

/// IP protocol number of VRRP.
pub const PROTOCOL_VRRP: u8 = 112;
/// The only TTL, or hop limit, that advertisements have: routers do not pass them on.
pub const TTL: u8 = 255;
const HEADER_BYTES: usize = 8;
/// Version 3, type 1: ADVERTISEMENT, the only one there is.
const VERSION: u8 = 3;
const TYPE_ADVERTISEMENT: u8 = 1;

/// What an advertisement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// The virtual router it is about.
    pub id: VirtualRouterId,
    /// Its sender's priority; 0 says that the sender stops being Active.
    pub priority: u8,
    /// Its sender's interval.
    pub interval: AdvertInterval,
    /// The virtual router's addresses, all of one family; at least one.
    pub addresses: Vec<IpAddr>,
}

/// Why a received packet is no advertisement. RFC 9568 §7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum AdvertError {
    /// It came by way of a router, or from one who would like it to look so.
    #[error("its TTL is not 255")]
    TtlNot255,
    /// It ends before its header does, or elsewhere than its addresses do.
    #[error("its length is wrong")]
    WrongLength,
    /// Not version 3.
    #[error("its version is not 3")]
    WrongVersion,
    /// Not type 1.
    #[error("its type is not 1")]
    WrongType,
    /// By neither form.
    #[error("its checksum is wrong")]
    WrongChecksum,
    /// Virtual router 0.
    #[error("its virtual router is 0")]
    IdZero,
    /// An interval of nothing.
    #[error("its interval is 0")]
    IntervalZero,
    /// No addresses.
    #[error("it has no addresses")]
    CountZero,
}

impl AdvertError {
    /// All reasons, in the order of their checks.
    pub const ALL: [Self; 8] = [
        Self::TtlNot255,
        Self::WrongLength,
        Self::WrongVersion,
        Self::WrongType,
        Self::WrongChecksum,
        Self::IdZero,
        Self::IntervalZero,
        Self::CountZero,
    ];

    /// What a counter of it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TtlNot255 => "ttl_not_255",
            Self::WrongLength => "wrong_length",
            Self::WrongVersion => "wrong_version",
            Self::WrongType => "wrong_type",
            Self::WrongChecksum => "wrong_checksum",
            Self::IdZero => "id_zero",
            Self::IntervalZero => "interval_zero",
            Self::CountZero => "count_zero",
        }
    }
}

impl Advert {
    /// The bytes behind the IP header, for a packet between these addresses.
    ///
    /// # Panics
    /// Never: more than 255 addresses are cut off, which no configuration has.
    pub fn encode(&self, source: IpAddr, destination: IpAddr, form: ChecksumForm) -> Vec<u8> {
        let count = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        let [high, low] = self.interval.centiseconds().to_be_bytes();
        let mut bytes =
            vec![VERSION << 4 | TYPE_ADVERTISEMENT, self.id.get(), self.priority, count, high, low, 0, 0];
        for address in self.addresses.iter().take(usize::from(count)) {
            match address {
                IpAddr::V4(v4) => bytes.extend(v4.octets()),
                IpAddr::V6(v6) => bytes.extend(v6.octets()),
            }
        }
        let sum = checksum(&bytes, source, destination, form);
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// Reads what came behind an IP header. Also says which checksum it has; an IPv4 one may be either.
    pub fn decode(
        bytes: &[u8],
        source: IpAddr,
        destination: IpAddr,
        ttl: u8,
    ) -> Result<(Self, ChecksumForm), AdvertError> {
        if ttl != TTL {
            return Err(AdvertError::TtlNot255);
        }
        let Some((header, list)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(AdvertError::WrongLength);
        };
        let [version_and_type, id, priority, count, interval_high, interval_low, _, _] = *header;
        if version_and_type >> 4 != VERSION {
            return Err(AdvertError::WrongVersion);
        }
        if version_and_type & 0x0f != TYPE_ADVERTISEMENT {
            return Err(AdvertError::WrongType);
        }
        let address_bytes = if source.is_ipv4() { 4 } else { 16 };
        if list.len() != usize::from(count) * address_bytes {
            return Err(AdvertError::WrongLength);
        }
        let is_right = |form: &ChecksumForm| checksum(bytes, source, destination, *form) == 0;
        let forms = [ChecksumForm::PseudoHeader, ChecksumForm::Message];
        let forms = if source.is_ipv4() { &forms[..] } else { &forms[..1] };
        let Some(form) = forms.iter().copied().find(is_right) else { return Err(AdvertError::WrongChecksum) };
        let id = VirtualRouterId::new(id).ok_or(AdvertError::IdZero)?;
        let centiseconds = u16::from_be_bytes([interval_high, interval_low]) & 0x0fff;
        let interval = AdvertInterval::from_centiseconds(centiseconds).ok_or(AdvertError::IntervalZero)?;
        if count == 0 {
            return Err(AdvertError::CountZero);
        }
        let addresses = list.chunks_exact(address_bytes).filter_map(address).collect();
        Ok((Self { id, priority, interval, addresses }, form))
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

/// The internet checksum: of a message whose field has it, 0.
fn checksum(message: &[u8], source: IpAddr, destination: IpAddr, form: ChecksumForm) -> u16 {
    let mut sum = words(message);
    let length = message.len() as u32;
    match (source, destination, form) {
        (IpAddr::V6(source), IpAddr::V6(destination), _) => {
            sum += words(&source.octets()) + words(&destination.octets());
            sum += length + u32::from(PROTOCOL_VRRP);
        }
        (IpAddr::V4(source), IpAddr::V4(destination), ChecksumForm::PseudoHeader) => {
            sum += words(&source.octets()) + words(&destination.octets());
            sum += length + u32::from(PROTOCOL_VRRP);
        }
        _ => {}
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn words(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| {
        u32::from(pair.first().copied().unwrap_or(0)) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))
    };
    bytes.chunks(2).map(word).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn advert(addresses: &[&str]) -> Advert {
        Advert {
            id: VirtualRouterId::new(51).expect("not 0"),
            priority: 100,
            interval: AdvertInterval::from_centiseconds(100).expect("a second"),
            addresses: addresses.iter().map(|text| ip(text)).collect(),
        }
    }

    const GROUP: &str = "224.0.0.18";
    const GROUP_V6: &str = "ff02::12";

    #[test]
    fn an_ipv4_advertisement_has_the_bytes_of_the_rfc_and_keepalives_checksum() {
        // Summed apart from this code: 3133 6401 0064 0a50 0064, and the pseudo-header 0a50 0002 e000 0012 0070 000c.
        let bytes = advert(&["10.80.0.100"]).encode(ip("10.80.0.2"), ip(GROUP), ChecksumForm::PseudoHeader);
        assert_eq!(bytes, [0x31, 51, 100, 1, 0, 100, 0x74, 0xd2, 10, 80, 0, 100]);
        let bytes = advert(&["10.80.0.100"]).encode(ip("10.80.0.2"), ip(GROUP), ChecksumForm::Message);
        assert_eq!(bytes[6..8], [0x5f, 0xb3]);
    }

    #[test]
    fn both_forms_of_the_ipv4_checksum_are_read_and_told_apart() {
        let (from, to) = (ip("10.80.0.2"), ip(GROUP));
        for form in [ChecksumForm::PseudoHeader, ChecksumForm::Message] {
            let bytes = advert(&["10.80.0.100", "10.80.0.101"]).encode(from, to, form);
            let read = Advert::decode(&bytes, from, to, 255);
            assert_eq!(read, Ok((advert(&["10.80.0.100", "10.80.0.101"]), form)));
        }
        let (from, to) = (ip("fe80::2"), ip(GROUP_V6));
        let bytes = advert(&["fe80::100", "fd80::100"]).encode(from, to, ChecksumForm::Message);
        assert_eq!(
            Advert::decode(&bytes, from, to, 255).map(|(_, form)| form),
            Ok(ChecksumForm::PseudoHeader)
        );
    }

    #[test]
    fn what_is_wrong_is_told_by_its_first_reason() {
        let (from, to) = (ip("10.80.0.2"), ip(GROUP));
        let good = advert(&["10.80.0.100"]).encode(from, to, ChecksumForm::PseudoHeader);
        let read = |bytes: &[u8], ttl| Advert::decode(bytes, from, to, ttl).expect_err("it is wrong");
        // With a checksum that is right again.
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes[6..8].fill(0);
            let sum = checksum(&bytes, from, to, ChecksumForm::PseudoHeader);
            bytes[6..8].copy_from_slice(&sum.to_be_bytes());
            bytes
        };
        assert_eq!(read(&good, 254), AdvertError::TtlNot255);
        assert_eq!(read(&good[..7], 255), AdvertError::WrongLength);
        assert_eq!(read(&good[..11], 255), AdvertError::WrongLength);
        assert_eq!(read(&[&good[..], &[0; 4]].concat(), 255), AdvertError::WrongLength);
        assert_eq!(read(&with(0, 0x21), 255), AdvertError::WrongVersion);
        assert_eq!(read(&with(0, 0x32), 255), AdvertError::WrongType);
        assert_eq!(read(&with(1, 0), 255), AdvertError::IdZero);
        assert_eq!(read(&with(5, 0), 255), AdvertError::IntervalZero);
        assert_eq!(read(&with(3, 0)[..8], 255), AdvertError::WrongChecksum);
        let mut none = with(3, 0)[..8].to_vec();
        none[6..8].fill(0);
        let sum = checksum(&none, from, to, ChecksumForm::Message);
        none[6..8].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(read(&none, 255), AdvertError::CountZero);
        let mut torn = good.clone();
        torn[8] ^= 1;
        assert_eq!(read(&torn, 255), AdvertError::WrongChecksum);
    }

    #[test]
    fn the_reserved_bits_beside_the_interval_say_nothing() {
        let (from, to) = (ip("10.80.0.2"), ip(GROUP));
        let mut bytes = advert(&["10.80.0.100"]).encode(from, to, ChecksumForm::Message);
        bytes[4] |= 0xf0;
        bytes[6..8].fill(0);
        let sum = checksum(&bytes, from, to, ChecksumForm::Message);
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        let (read, _) = Advert::decode(&bytes, from, to, 255).expect("an advertisement");
        assert_eq!(read.interval, advert(&["10.80.0.100"]).interval);
    }

    proptest! {
        #[test]
        fn no_bytes_from_the_network_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), v6: bool) {
            let (from, to) = if v6 { ("fe80::2", GROUP_V6) } else { ("10.80.0.2", GROUP) };
            let _ = Advert::decode(&bytes, ip(from), ip(to), 255);
        }

        #[test]
        fn what_is_written_is_read_again(id in 1u8.., priority: u8, centiseconds in 1u16..4096, count in 1usize..20) {
            let addresses = (0..count).map(|number| IpAddr::from([10, 80, 1, number as u8])).collect();
            let advert = Advert {
                id: VirtualRouterId::new(id).expect("not 0"),
                priority,
                interval: AdvertInterval::from_centiseconds(centiseconds).expect("in range"),
                addresses,
            };
            let (from, to) = (ip("10.80.0.3"), ip("10.80.0.2"));
            let bytes = advert.encode(from, to, ChecksumForm::PseudoHeader);
            prop_assert_eq!(Advert::decode(&bytes, from, to, 255), Ok((advert, ChecksumForm::PseudoHeader)));
        }
    }
}

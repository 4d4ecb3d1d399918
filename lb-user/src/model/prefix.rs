//! Source prefixes as people write them: an address, or a network with the length of its prefix.

use super::ModelError;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::IpAddr;

/// The prefixes of both families that every address is in.
pub fn any_source() -> [IpNet; 2] {
    [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())]
}

/// Reads an address (`198.51.100.7`) or a network (`2001:db8::/32`).
///
/// # Errors
/// Bits behind the prefix are refused: they are more often a slip than meant.
pub fn parse_prefix(text: &str) -> Result<IpNet, ModelError> {
    read_prefix(text).map_err(|why| ModelError::Prefix { given: text.to_owned(), why })
}

/// The same, where what is wrong is told without what was given: words that name nothing but addresses.
///
/// # Errors
/// What is wrong.
pub fn read_prefix(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return refuse_mapped(IpNet::from(address));
    }
    let expected = "expected an address or a prefix such as 198.51.100.0/24 or 2001:db8::/32";
    let prefix: IpNet = text.parse().map_err(|_| expected)?;
    if prefix.trunc() != prefix {
        return Err(format!("it has bits behind its prefix; did you mean {}?", prefix.trunc()));
    }
    refuse_mapped(prefix)
}

/// IPv4 in IPv6's clothes would match nothing: no packet on a wire has such an address.
fn refuse_mapped(prefix: IpNet) -> Result<IpNet, String> {
    match prefix {
        IpNet::V6(v6) if v6.prefix_len() >= 96 && v6.addr().to_ipv4_mapped().is_some() => {
            Err("it is an IPv4-mapped address; write the IPv4 one".into())
        }
        prefix => Ok(prefix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> String {
        parse_prefix(text).expect_err("refused").to_string()
    }

    #[test]
    fn an_address_is_a_prefix_of_all_its_bits() {
        assert_eq!(parse_prefix("198.51.100.7").expect("an address").to_string(), "198.51.100.7/32");
        assert_eq!(parse_prefix("2001:db8::7").expect("an address").to_string(), "2001:db8::7/128");
        assert_eq!(parse_prefix("0.0.0.0/0").expect("a prefix"), any_source()[0]);
    }

    #[test]
    fn what_is_no_prefix_is_refused_with_what_may_have_been_meant() {
        assert!(why("198.51.100.7/24").contains("did you mean 198.51.100.0/24?"));
        assert!(why("198.51.100.0/33").contains("expected an address"));
        assert!(why("office").contains("expected an address"));
        assert!(why("::ffff:198.51.100.7").contains("write the IPv4 one"));
    }
}

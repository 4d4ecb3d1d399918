//! The parsers of what strangers send, built without the rest of lb-user: quickly, and instrumented.
//!
//! Owns what holds of all of them. What else must hold of one, its target says. The files are those of lb-user itself; only what they name of
//! other modules stands here.

use std::fmt::Debug;

#[path = "../../src/core/proxy/client_hello.rs"]
pub mod client_hello;
#[path = "../../src/core/proxy/header.rs"]
pub mod header;
#[path = "../../src/core/proxy/redirect.rs"]
pub mod redirect;
#[path = "../../src/core/proxy/tls_fields.rs"]
pub mod tls_fields;

/// The protocol and the SQL of databases, as they stand in lb-user: the folders here are links to its own. What proves passwords is left out,
/// for it needs libraries that take long to build.
pub mod core {
    /// See there.
    pub mod mysql {
        /// See there.
        pub mod protocol {
            pub mod capabilities;
            pub mod command;
            pub mod gtid;
            pub mod handshake;
            pub mod packet;
            pub mod response;
            pub mod status;
        }
        pub mod sql;
    }
}

/// What the parsers name of `lb_user::model`.
pub mod model {
    /// Of the PROXY protocol.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ProxyVersion {
        /// Text.
        V1,
        /// Binary.
        V2,
    }
}

/// What a parser says of all bytes; it must have said the same as soon as it said anything but `Ok(None)`, however they arrive.
#[track_caller]
pub fn decided<T, E>(bytes: &[u8], parse: impl Fn(&[u8]) -> Result<Option<T>, E>) -> Result<Option<T>, E>
where
    T: Debug + PartialEq,
    E: Debug + PartialEq,
{
    let decided = parse(bytes);
    for cut in cuts(bytes) {
        let early = parse(&bytes[..cut]);
        if early != Ok(None) {
            assert_eq!(
                early,
                decided,
                "after {cut} bytes it is decided, and after {} otherwise",
                bytes.len()
            );
        }
    }
    decided
}

/// Before the last byte, and where the bytes themselves say. Few: to libFuzzer it is news how often a branch was taken, and with many cuts
/// that says more of them than of the parser.
fn cuts(bytes: &[u8]) -> impl Iterator<Item = usize> {
    // FNV-1a: the same input is cut alike whenever it is run.
    let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, hash) as usize;
    let length = bytes.len();
    [length.saturating_sub(1), hash % length.max(1)].into_iter().filter(move |cut| *cut < length)
}

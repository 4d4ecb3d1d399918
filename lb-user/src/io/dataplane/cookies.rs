//! Secrets of SYN cookies, and the threshold from which on they are sent.
//!
//! Owns the map of both. The agent decides when a key has been in use for long enough.

use super::maps::{Plain, failed, read_view, view};
use super::{Dataplane, DataplaneError, Options};
use crate::model::SynCookieMode;
use aya::Ebpf;
use aya::maps::{Array, MapData};
use lb_ebpf::abi::SynCookies;

const MAP: &str = "SYN_COOKIES";
/// Of the handshakes that can be remembered, one in so many may be unfinished within a second. They are remembered for
/// some seconds, those of slow clients among them, and as many entries again are what the table's eviction is coarse by.
const SHARE: u32 = 8;
/// So many slow clients are no flood.
const LEAST: u32 = 64;

/// How many unfinished handshakes there may be in a second before cookies are sent; and of those that backends answer directly, which get
/// none, before they are not recorded.
fn thresholds(options: &Options) -> (u32, u32) {
    // Each unfinished handshake holds a port of its backend, too.
    let auto = (options.embryonic_flows.min(options.nat_ports.len()) / SHARE).max(LEAST);
    let direct = (options.embryonic_flows / SHARE).max(LEAST);
    match options.syn_cookies {
        SynCookieMode::Always => (0, direct),
        SynCookieMode::Never => (u32::MAX, u32::MAX),
        SynCookieMode::Auto => (auto, direct),
    }
}

fn random_key() -> Result<[u64; 2], DataplaneError> {
    let mut key = [[0u8; 8]; 2];
    for half in &mut key {
        getrandom::fill(half)
            .map_err(|error| DataplaneError::Map { map: MAP, reason: format!("no random key: {error}") })?;
    }
    Ok(key.map(u64::from_ne_bytes))
}

fn read(ebpf: &Ebpf) -> Result<SynCookies, DataplaneError> {
    let map: Array<&MapData, Plain<SynCookies>> = read_view(ebpf, MAP)?;
    Ok(map.get(&0, 0).map_err(failed(MAP))?.0)
}

fn write(ebpf: &mut Ebpf, cookies: SynCookies) -> Result<(), DataplaneError> {
    let mut map: Array<&mut MapData, Plain<SynCookies>> = view(ebpf, MAP)?;
    map.set(0, Plain(cookies), 0).map_err(failed(MAP))
}

/// Writes the settings, and keys where there are none yet: clients may hold cookies of keys that are there.
pub(super) fn set_up(ebpf: &mut Ebpf, options: &Options) -> Result<(), DataplaneError> {
    let mut cookies = read(ebpf)?;
    for key in cookies.keys.iter_mut().filter(|key| **key == [0; 2]) {
        *key = random_key()?;
    }
    (cookies.threshold, cookies.direct_threshold) = thresholds(options);
    write(ebpf, cookies)
}

impl Dataplane {
    /// Sends SYN cookies as the options say.
    pub fn set_syn_cookies(&mut self, options: &Options) -> Result<(), DataplaneError> {
        set_up(&mut self.ebpf, options)
    }

    /// Makes and checks cookies with these keys, which are random otherwise.
    pub fn set_cookie_keys(&mut self, keys: [[u64; 2]; 2]) -> Result<(), DataplaneError> {
        let cookies = read(&self.ebpf)?;
        write(&mut self.ebpf, SynCookies { keys, ..cookies })
    }

    /// Makes the older of the two keys anew, and cookies with that from now on. Those of the other key stay good until the
    /// next change.
    pub fn change_cookie_key(&mut self) -> Result<(), DataplaneError> {
        let mut cookies = read(&self.ebpf)?;
        let older = if cookies.current == 0 { 1 } else { 0 };
        cookies.keys[older] = random_key()?;
        // First the key and then the word that points to it: the program reads while this is written.
        write(&mut self.ebpf, cookies)?;
        cookies.current = older as u32;
        write(&mut self.ebpf, cookies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AttachMode, PortRange};

    fn options(syn_cookies: SynCookieMode, embryonic_flows: u32, ports: u16) -> Options {
        Options {
            pin_dir: "/nowhere".into(),
            interfaces: Vec::new(),
            attach: AttachMode::Auto,
            established_flows: 1024,
            embryonic_flows,
            limited_sources: 1024,
            prefixes: 1024,
            nat_ports: PortRange::new(2048, 2047 + ports).expect("a range"),
            syn_cookies,
        }
    }

    #[test]
    fn the_threshold_is_a_share_of_what_can_be_remembered() {
        assert_eq!(thresholds(&options(SynCookieMode::Auto, 16_384, 30_000)), (2048, 2048));
        assert_eq!(
            thresholds(&options(SynCookieMode::Auto, 65_536, 30_000)),
            (3750, 8192),
            "ports are fewer"
        );
        assert_eq!(thresholds(&options(SynCookieMode::Auto, 500, 100)), (LEAST, LEAST));
        assert_eq!(thresholds(&options(SynCookieMode::Always, 65_536, 30_000)), (0, 8192));
        assert_eq!(thresholds(&options(SynCookieMode::Never, 65_536, 30_000)), (u32::MAX, u32::MAX));
    }
}

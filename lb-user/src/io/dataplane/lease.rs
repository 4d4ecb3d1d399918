//! The lease under which the program serves VIPs that other nodes may take over, and what else holds for a VIP.
//!
//! Owns the word that says until when, and the word of each VIP. Who renews the lease, and what holds for which VIP, the agent decides.

use super::maps::{Plain, again, failed, read_view, view};
use super::{Dataplane, DataplaneError, monotonic_now};
use aya::maps::{Array, HashMap, Map, MapData};
use lb_ebpf::abi::{Address, VIP_IS_FOR_SERVICES, VIP_NEEDS_LEASE};
use nix::time::{ClockId, clock_getres};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

const NAME: &str = "LEASE";
/// Of a kernel that counts a hundred in a second.
const LONGEST_TICK: Duration = Duration::from_millis(10);
/// In the word of every VIP.
const SERVED: u32 = 1;

/// What holds for a VIP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VipTerms {
    /// It is only served under the lease.
    pub needs_lease: bool,
    /// The host is not reached at it, but for what the services there need.
    pub is_for_services: bool,
}

impl VipTerms {
    fn word(self) -> u32 {
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        SERVED | flag(self.needs_lease, VIP_NEEDS_LEASE) | flag(self.is_for_services, VIP_IS_FOR_SERVICES)
    }
}

/// Renews the lease, from any thread.
pub struct Lease {
    map: Array<MapData, u64>,
    /// The program's clock is behind by as much at times.
    tick: Duration,
}

impl Lease {
    /// Lets the lease last so long from now, at most; `None`: nothing needs one.
    pub fn renew(&mut self, lasts: Option<Duration>) -> Result<(), DataplaneError> {
        let until = match lasts {
            Some(lasts) => u64::try_from((monotonic_now() + lasts.saturating_sub(self.tick)).as_nanos())
                .unwrap_or(u64::MAX),
            None => 0,
        };
        self.map.set(0, until, 0).map_err(failed(NAME))
    }
}

impl Dataplane {
    /// The lease. One alone may renew it.
    pub fn lease(&self) -> Result<Lease, DataplaneError> {
        let Some(Map::Array(data)) = self.ebpf.map(NAME) else {
            return Err(DataplaneError::Map { map: NAME, reason: "not an array".into() });
        };
        let own = again(data, NAME)?;
        let map = Map::from_map_data(own).map_err(failed(NAME))?;
        let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).map_or(LONGEST_TICK, Duration::from);
        Ok(Lease { map: Array::try_from(map).map_err(failed(NAME))?, tick })
    }

    /// Whether the lease that an earlier agent had is not over yet.
    pub fn is_leased(&self) -> Result<bool, DataplaneError> {
        let map: Array<&MapData, u64> = read_view(&self.ebpf, NAME)?;
        let until = Duration::from_nanos(map.get(&0, 0).map_err(failed(NAME))?);
        Ok(until > monotonic_now())
    }

    /// Says what holds for VIPs; nothing for those that are left out. VIPs come and go by steps; this is said again after those.
    pub fn set_vip_terms(&mut self, terms: &BTreeMap<IpAddr, VipTerms>) -> Result<(), DataplaneError> {
        let vips: Vec<IpAddr> = self.image().vips.iter().copied().collect();
        let mut map: HashMap<&mut MapData, Plain<Address>, u32> = view(&mut self.ebpf, "VIPS")?;
        for vip in vips {
            let terms = terms.get(&vip).copied().unwrap_or_default();
            map.insert(Plain(Address::from(vip)), terms.word(), 0).map_err(failed("VIPS"))?;
        }
        Ok(())
    }
}

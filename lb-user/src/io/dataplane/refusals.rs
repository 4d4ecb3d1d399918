//! Backends that refuse connections, as the program sees them: it tells of each handshake that a backend ended with RST.

use super::maps::{again, failed};
use super::{Dataplane, DataplaneError};
use aya::maps::{Map, MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const NAME: &str = "REFUSALS";

/// Tells of refusals as they come.
pub struct Refusals {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Dataplane {
    /// Where refusals come out. They go to one reader; what nobody reads for long is lost.
    pub fn refusals(&self) -> Result<Refusals, DataplaneError> {
        let wrong = |reason: String| DataplaneError::Map { map: NAME, reason };
        let Some(Map::RingBuf(data)) = self.ebpf.map(NAME) else {
            return Err(wrong("not a ring buffer".into()));
        };
        let own = again(data, NAME)?;
        let map = Map::from_map_data(own).map_err(failed(NAME))?;
        let mut ring = RingBuf::try_from(map).map_err(failed(NAME))?;
        // What nobody heard while there was no agent is no news.
        while ring.next().is_some() {}
        // SAFETY: the ring owns its map's descriptor, always gives that one, and closes it only when it is dropped.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        Ok(Refusals { ring: ring.map_err(|error| wrong(error.to_string()))? })
    }
}

impl Refusals {
    /// Ids of the backends that refused a connection since the last call, one for each time. Waits for the first. May be
    /// dropped and called again: nothing is lost.
    pub async fn next(&mut self) -> std::io::Result<Vec<u32>> {
        loop {
            let mut ready = self.ring.readable_mut().await?;
            let mut ids = Vec::new();
            while let Some(item) = ready.get_inner_mut().next() {
                ids.extend(<[u8; 4]>::try_from(&item[..]).map(u32::from_ne_bytes));
            }
            ready.clear_ready();
            if !ids.is_empty() {
                return Ok(ids);
            }
        }
    }
}

//! The words by which the agent steers what the program tells about flows, and what it does with unknown ones.

/// Words of the map.
pub const SYNC_WORDS: u32 = 4;
/// Which of them says whether flows' keys are told: 0 is no.
pub const SYNC_TELLS: u32 = 0;
/// Which says until when unknown flows may be those of another node, in ns of the coarse clock; 0 is never.
pub const SYNC_GRACE_UNTIL: u32 = 1;
/// Which says what ports other nodes give to flows, as [`PeerPorts`].
pub const SYNC_PEER_PORTS: u32 = 2;
/// Which says until when somebody listens who tells other nodes of flows, in ns of the coarse clock; 0: nobody needs to.
pub const SYNC_HEARD_UNTIL: u32 = 3;

/// The ports that other nodes give to flows, from the lowest to the highest of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PeerPorts {
    first: u16,
    count: u16,
}

impl PeerPorts {
    /// From the first to the last port, both among them.
    pub const fn new(first: u16, last: u16) -> Self {
        Self { first, count: last.saturating_sub(first).saturating_add(1) }
    }

    /// From the map's word. 0 is no port.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self { first: word as u16, count: (word >> 16) as u16 }
    }

    /// For the map's word.
    pub const fn word(self) -> u64 {
        self.first as u64 | (self.count as u64) << 16
    }

    /// Whether a port (network byte order) is among them.
    #[inline(always)]
    pub const fn contains(self, port: [u8; 2]) -> bool {
        u16::from_be_bytes(port).wrapping_sub(self.first) < self.count
    }
}

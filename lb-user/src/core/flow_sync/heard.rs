//! What a datagram says behind its header.

use super::copy::Change;
use super::datagram::{DatagramError, Kind};
use super::introduction::Introduction;

/// In a datagram: all that was there when the snapshot began has been told.
pub(super) const SNAPSHOT_ENDED: u8 = 0xff;

/// What a datagram of the other node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is there, and has begun anew if it was there before.
    PeerCame,
    /// What it says of itself is new.
    Introduced(Introduction),
    /// A flow of it.
    Changed(Change),
    /// All its flows have been told.
    SnapshotEnded,
}

/// What a datagram of that kind says after its header.
pub(super) fn read(kind: Kind, mut payload: &[u8]) -> Result<Vec<Heard>, DatagramError> {
    if kind == Kind::Hello {
        let introduction = Introduction::decode(payload).ok_or(DatagramError::Malformed)?;
        return Ok(vec![Heard::Introduced(introduction)]);
    }
    let mut said = Vec::new();
    while let Some(first) = payload.first() {
        if *first == SNAPSHOT_ENDED {
            payload = &payload[1..];
            said.push(Heard::SnapshotEnded);
        } else {
            said.push(Heard::Changed(Change::decode(&mut payload)?));
        }
    }
    Ok(said)
}

//! The front of a datagram between two nodes.

use super::copy::CopyError;

/// The version that is spoken. A node refuses others; the next release speaks this one with those that know no other.
pub(super) const VERSION: u8 = 1;
/// Bytes before the changes.
pub(super) const HEADER_BYTES: usize = 2 + 5 * 8;

/// What a datagram is for. All of them acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// To be heard, and to learn the other's epoch. It introduces its sender, and is numbered by itself: an older one is not heeded.
    Hello = 0,
    /// It has changes, a number, and is acknowledged.
    Data = 1,
    /// It only acknowledges, and has no number.
    Acknowledgement = 2,
}

/// What was received: the highest number, and of the 64 before it a bit each, the lowest for the one just before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// 0 is nothing: numbers begin with 1.
    pub(super) highest: u64,
    /// Those before.
    pub(super) before: u64,
}

/// What is known of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was received.
    Received,
    /// It was not, and if it still comes it will be refused.
    Lost,
    /// It may be on its way.
    Open,
}

impl Received {
    /// Whether a number is higher than all before, and then it is received.
    pub(super) fn accept(&mut self, sequence: u64) -> bool {
        if sequence <= self.highest {
            return false;
        }
        let step = sequence - self.highest;
        let shifted = self.before.checked_shl(u32::try_from(step).unwrap_or(u32::MAX)).unwrap_or(0);
        // The one that was the highest; at the beginning there was none.
        let last = if self.highest == 0 || step > 64 { 0 } else { 1 << (step - 1) };
        *self = Self { highest: sequence, before: shifted | last };
        true
    }

    /// What became of a number.
    pub(super) fn fate(self, sequence: u64) -> Fate {
        match self.highest.checked_sub(sequence) {
            None => Fate::Open,
            Some(0) => Fate::Received,
            Some(back) if back <= 64 && self.before >> (back - 1) & 1 == 1 => Fate::Received,
            Some(_) => Fate::Lost,
        }
    }
}

/// A datagram's front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// What it is for.
    pub(super) kind: Kind,
    /// The sender's epoch.
    pub(super) from_epoch: u64,
    /// The receiver's, as the sender knows it; 0 is not at all.
    pub(super) to_epoch: u64,
    /// Its number among those of its kind.
    pub(super) sequence: u64,
    /// What the sender received.
    pub(super) received: Received,
}

/// Why a datagram is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum DatagramError {
    /// It ends too soon, or its changes make no sense.
    #[error("malformed")]
    Malformed,
    /// It speaks another version.
    #[error("version {0}, not {VERSION}")]
    Version(u8),
    /// It is of an epoch of its sender that has ended: late, or sent again by somebody else.
    #[error("of an epoch that has ended")]
    Ended,
    /// It is this node's own.
    #[error("this node's own")]
    Own,
}

impl From<CopyError> for DatagramError {
    fn from(_: CopyError) -> Self {
        Self::Malformed
    }
}

impl Header {
    /// Its bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1400);
        out.extend([VERSION, self.kind as u8]);
        let Received { highest, before } = self.received;
        for word in [self.from_epoch, self.to_epoch, self.sequence, highest, before] {
            out.extend(word.to_be_bytes());
        }
        out
    }

    /// The front of these bytes, and what follows it.
    ///
    /// # Errors
    /// They are another's, or damaged.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), DatagramError> {
        let (&[version, kind], rest) = bytes.split_first_chunk::<2>().ok_or(DatagramError::Malformed)?;
        if version != VERSION {
            return Err(DatagramError::Version(version));
        }
        let kind = match kind {
            0 => Kind::Hello,
            1 => Kind::Data,
            2 => Kind::Acknowledgement,
            _ => return Err(DatagramError::Malformed),
        };
        let (words, rest) = rest.split_first_chunk::<40>().ok_or(DatagramError::Malformed)?;
        let mut words = words.chunks_exact(8).map(|word| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(word);
            u64::from_be_bytes(bytes)
        });
        let mut next = || words.next().ok_or(DatagramError::Malformed);
        let header = Self {
            kind,
            from_epoch: next()?,
            to_epoch: next()?,
            sequence: next()?,
            received: Received { highest: next()?, before: next()? },
        };
        Ok((header, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn what_was_received_is_told_and_what_was_not_is_lost(numbers in prop::collection::vec(1u64..200, 0..100)) {
            let mut received = Received::default();
            let mut accepted = BTreeSet::new();
            for number in numbers {
                let is_new = accepted.last().is_none_or(|last| number > *last);
                prop_assert_eq!(received.accept(number), is_new);
                if is_new {
                    accepted.insert(number);
                }
            }
            for number in 1..300 {
                let fate = match accepted.contains(&number) {
                    _ if number > received.highest => Fate::Open,
                    true if received.highest - number <= 64 => Fate::Received,
                    // Further back than there are bits: told again, which costs a datagram.
                    _ => Fate::Lost,
                };
                prop_assert_eq!(received.fate(number), fate, "{}", number);
            }
        }

        #[test]
        fn a_front_comes_back_as_it_was(words: [u64; 5], is_data: bool, more: Vec<u8>) {
            let [from_epoch, to_epoch, sequence, highest, before] = words;
            let kind = if is_data { Kind::Data } else { Kind::Acknowledgement };
            let header =
                Header { kind, from_epoch, to_epoch, sequence, received: Received { highest, before } };
            let mut bytes = header.encode();
            prop_assert_eq!(bytes.len(), HEADER_BYTES);
            prop_assert_eq!(Header::decode(&bytes[..HEADER_BYTES - 1]), Err(DatagramError::Malformed));
            bytes.extend(&more);
            prop_assert_eq!(Header::decode(&bytes), Ok((header, &more[..])));
            bytes[0] = VERSION + 1;
            prop_assert_eq!(Header::decode(&bytes), Err(DatagramError::Version(VERSION + 1)));
        }
    }
}

//! A table of names that is hashed when the crate is compiled and looked up without regard to ASCII case.
//!
//! Owns the hash and the probing; it never allocates and knows nothing of what the names mean.

/// No name is longer; a longer word is in no table.
const LONGEST_NAME: usize = 40;

/// An open-addressing table of `SLOTS` places (a power of two, more than the names) over names grouped in lists.
pub(crate) struct NameTable<const SLOTS: usize> {
    /// Group and place in the group, both plus nothing; `EMPTY` where no name is.
    slots: [(u8, u8); SLOTS],
}

const EMPTY: (u8, u8) = (u8::MAX, u8::MAX);
const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

/// One step of the hash. Setting bit 5 makes upper and lower case letters alike; other bytes that collide by it
/// are told apart by the comparison.
const fn step(hash: u32, byte: u8) -> u32 {
    (hash ^ (byte | 0x20) as u32).wrapping_mul(FNV_PRIME)
}

const fn slot_of(hash: u32, slots: usize) -> usize {
    ((hash ^ (hash >> 15)) as usize) & (slots - 1)
}

impl<const SLOTS: usize> NameTable<SLOTS> {
    /// Builds the table; evaluated by the compiler, so a name that is there twice or a table that is too small
    /// stops the build instead of the program.
    #[allow(clippy::indexing_slicing, clippy::panic, clippy::cast_possible_truncation)]
    pub(crate) const fn new(groups: &[&[&str]]) -> Self {
        let mut slots = [EMPTY; SLOTS];
        let mut group = 0;
        while group < groups.len() {
            let names = groups[group];
            assert!(group < 255 && names.len() < 255);
            let mut place = 0;
            while place < names.len() {
                let name = names[place].as_bytes();
                assert!(name.len() <= LONGEST_NAME);
                let mut hash = FNV_OFFSET;
                let mut index = 0;
                while index < name.len() {
                    hash = step(hash, name[index]);
                    index += 1;
                }
                let mut slot = slot_of(hash, SLOTS);
                while slots[slot].0 != EMPTY.0 {
                    slot = (slot + 1) & (SLOTS - 1);
                }
                slots[slot] = (group as u8, place as u8);
                place += 1;
            }
            group += 1;
        }
        Self { slots }
    }

    /// The group and the place of a name in the lists the table was built from.
    pub(crate) fn find(&self, groups: &[&[&str]], word: &[u8]) -> Option<(usize, usize)> {
        if word.len() > LONGEST_NAME {
            return None;
        }
        let mut slot = slot_of(word.iter().fold(FNV_OFFSET, |hash, byte| step(hash, *byte)), SLOTS);
        for _ in 0..SLOTS {
            let (group, place) = *self.slots.get(slot)?;
            if (group, place) == EMPTY {
                return None;
            }
            let (group, place) = (usize::from(group), usize::from(place));
            let name = groups.get(group)?.get(place)?;
            if name.as_bytes().eq_ignore_ascii_case(word) {
                return Some((group, place));
            }
            slot = (slot + 1) & (SLOTS - 1);
        }
        None
    }
}

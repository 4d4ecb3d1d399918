//! Session state changes, which OK packets carry for a receiver with `SESSION_TRACK`.
//!
//! Owns the layout of the list and of each kind of change; a kind it does not know is kept as it is. MySQL
//! protocol: `OK_Packet`, "Session State Information".

use super::super::packet::{ReadError, Reader, Writer};

/// One change of the session's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionChange<'a> {
    /// A variable got a value (type 0).
    SystemVariable {
        /// Its name.
        name: &'a [u8],
        /// Its value as text.
        value: &'a [u8],
    },
    /// The current database (type 1).
    Schema(&'a [u8]),
    /// Whether the session has state of its own now (type 2).
    StateChange(bool),
    /// GTIDs of the transaction that ended (type 3, MySQL), as text.
    Gtids(&'a [u8]),
    /// The statements that would begin the transaction anew (type 4).
    TransactionCharacteristics(&'a [u8]),
    /// The transaction's state in eight letters (type 5).
    TransactionState(&'a [u8]),
    /// One of another type, or one that does not follow its layout.
    Other {
        /// The type.
        kind: u8,
        /// The data as sent.
        data: &'a [u8],
    },
}

/// The changes of one OK packet, as they stand in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionChanges {
    bytes: Vec<u8>,
}

impl SessionChanges {
    /// The list as it stands in a packet, without the length of the whole.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec() }
    }

    /// The list as it stands in a packet.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds a change at the end.
    pub fn push(&mut self, change: &SessionChange<'_>) {
        let (kind, data) = encode(change);
        self.push_entry(kind, &data);
    }

    fn push_entry(&mut self, kind: u8, data: &[u8]) {
        let mut writer = Writer::new();
        writer.u8(kind).lenenc_bytes(data);
        self.bytes.extend_from_slice(&writer.finish());
    }

    /// The changes. What follows a broken entry is not found.
    pub fn iter(&self) -> impl Iterator<Item = SessionChange<'_>> {
        self.entries().flat_map(|(kind, data)| decode(kind, data))
    }

    /// The value of the variable `name`, the last one when there are several. MariaDB tells the GTID of a
    /// transaction as the variable `last_gtid`.
    pub fn system_variable(&self, name: &str) -> Option<&[u8]> {
        let matches = |change| match change {
            SessionChange::SystemVariable { name: found, value } => {
                found.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
            }
            _ => None,
        };
        self.iter().filter_map(matches).last()
    }

    /// The GTIDs of the transaction that ended (MySQL).
    pub fn gtids(&self) -> Option<&[u8]> {
        self.iter()
            .filter_map(|change| match change {
                SessionChange::Gtids(gtids) => Some(gtids),
                _ => None,
            })
            .last()
    }

    /// The changes for which `keep` holds.
    #[must_use]
    pub fn filtered(&self, mut keep: impl FnMut(&SessionChange<'_>) -> bool) -> Self {
        let mut kept = Self::default();
        for (kind, data) in self.entries() {
            let changes = decode(kind, data);
            let wanted: Vec<_> = changes.iter().filter(|change| keep(change)).collect();
            // An entry that stays whole stays as the server wrote it.
            if wanted.len() == changes.len() {
                kept.push_entry(kind, data);
            } else {
                wanted.into_iter().for_each(|change| kept.push(change));
            }
        }
        kept
    }

    fn entries(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut reader = Reader::new(&self.bytes);
        std::iter::from_fn(move || {
            let kind = reader.u8().ok()?;
            let data = reader.lenenc_bytes().ok()?;
            Some((kind, data))
        })
    }
}

/// The changes in one entry: one, but for variables, of which an entry may hold several.
fn decode(kind: u8, data: &[u8]) -> Vec<SessionChange<'_>> {
    match kind {
        0 => variables(data),
        1 => text(data).map(SessionChange::Schema).map(|change| vec![change]),
        2 => flag(data).map(|changed| vec![SessionChange::StateChange(changed)]),
        3 => gtids(data).map(|text| vec![SessionChange::Gtids(text)]),
        4 => text(data).map(|value| vec![SessionChange::TransactionCharacteristics(value)]),
        5 => text(data).map(|value| vec![SessionChange::TransactionState(value)]),
        _ => Ok(vec![SessionChange::Other { kind, data }]),
    }
    .unwrap_or_else(|_| vec![SessionChange::Other { kind, data }])
}

fn variables(data: &[u8]) -> Result<Vec<SessionChange<'_>>, ReadError> {
    let mut reader = Reader::new(data);
    let mut found = Vec::new();
    while !reader.is_empty() {
        let name = reader.lenenc_bytes()?;
        found.push(SessionChange::SystemVariable { name, value: reader.lenenc_bytes()? });
    }
    Ok(found)
}

fn text(data: &[u8]) -> Result<&[u8], ReadError> {
    let mut reader = Reader::new(data);
    let text = reader.lenenc_bytes()?;
    match reader.is_empty() {
        true => Ok(text),
        false => Err(ReadError::Truncated),
    }
}

/// The flag of a state change: a bare digit as servers send it, though the documentation has a length before.
fn flag(data: &[u8]) -> Result<bool, ReadError> {
    match data {
        b"1" | [1, b'1'] => Ok(true),
        b"0" | [1, b'0'] => Ok(false),
        _ => Err(ReadError::Truncated),
    }
}

fn gtids(data: &[u8]) -> Result<&[u8], ReadError> {
    // The first byte names the encoding; 0, a string, is the only one there is.
    match data.split_first() {
        Some((0, rest)) => text(rest),
        _ => Err(ReadError::Truncated),
    }
}

fn encode(change: &SessionChange<'_>) -> (u8, Vec<u8>) {
    let mut writer = Writer::new();
    let kind = match change {
        SessionChange::SystemVariable { name, value } => {
            writer.lenenc_bytes(name).lenenc_bytes(value);
            0
        }
        SessionChange::Schema(name) => {
            writer.lenenc_bytes(name);
            1
        }
        SessionChange::StateChange(changed) => {
            writer.u8(if *changed { b'1' } else { b'0' });
            2
        }
        SessionChange::Gtids(text) => {
            writer.u8(0).lenenc_bytes(text);
            3
        }
        SessionChange::TransactionCharacteristics(text) => {
            writer.lenenc_bytes(text);
            4
        }
        SessionChange::TransactionState(text) => {
            writer.lenenc_bytes(text);
            5
        }
        SessionChange::Other { kind, data } => {
            writer.bytes(data);
            *kind
        }
    };
    (kind, writer.finish())
}

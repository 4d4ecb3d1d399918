//! Status flags: what a server says about the session in every OK and EOF packet.
//!
//! Owns the names of the bits. Never decides what follows from them.

use std::ops::BitOr;

/// `SERVER_STATUS_*`. MySQL protocol: `SERVER_STATUS_flags_enum`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct StatusFlags(pub u16);

impl StatusFlags {
    /// A transaction is open.
    pub const IN_TRANSACTION: Self = Self(1);
    /// Autocommit is on.
    pub const AUTOCOMMIT: Self = Self(1 << 1);
    /// Another result follows this one.
    pub const MORE_RESULTS: Self = Self(1 << 3);
    /// No good index was used.
    pub const NO_GOOD_INDEX_USED: Self = Self(1 << 4);
    /// No index was used.
    pub const NO_INDEX_USED: Self = Self(1 << 5);
    /// A cursor is open for the statement: its rows are fetched with `COM_STMT_FETCH`.
    pub const CURSOR_EXISTS: Self = Self(1 << 6);
    /// The cursor's last row has been sent.
    pub const LAST_ROW_SENT: Self = Self(1 << 7);
    /// A database was dropped.
    pub const DATABASE_DROPPED: Self = Self(1 << 8);
    /// `NO_BACKSLASH_ESCAPES` is in the SQL mode: a backslash in a string is an ordinary character.
    pub const NO_BACKSLASH_ESCAPES: Self = Self(1 << 9);
    /// The columns of a prepared statement changed when it was prepared anew.
    pub const METADATA_CHANGED: Self = Self(1 << 10);
    /// The query was slow.
    pub const QUERY_WAS_SLOW: Self = Self(1 << 11);
    /// The result set holds the OUT parameters of a procedure.
    pub const PS_OUT_PARAMETERS: Self = Self(1 << 12);
    /// The open transaction is read only.
    pub const IN_TRANSACTION_READ_ONLY: Self = Self(1 << 13);
    /// The OK packet tells of changes of the session's state.
    pub const SESSION_STATE_CHANGED: Self = Self(1 << 14);

    /// Whether all of `flags` are set.
    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These flags without `flags`.
    #[must_use]
    pub fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }
}

impl BitOr for StatusFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

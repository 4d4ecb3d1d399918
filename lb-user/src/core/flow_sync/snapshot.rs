//! How far the telling of all flows is, and what that asks of whoever has the table.

/// What the shell shall do about the walk through its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// Nothing.
    Rest,
    /// Begin at the table's beginning, also if one is under way.
    Begin,
    /// Tell the next keys.
    GoOn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Snapshot {
    /// To begin, once the other is there.
    Wanted,
    /// The table is walked.
    Walking,
    /// Walked, but not all is acknowledged.
    Draining,
    /// All of it is acknowledged.
    Done,
}

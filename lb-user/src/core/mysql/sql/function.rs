//! The functions that are built into the servers and what they mean to a proxy.
//!
//! Owns the table of names with the version each family has them from. A name that is missing, or newer than the
//! server, may be a stored function, and that may do anything.

mod table;

use super::names::NameTable;
use super::{Context, Flavor};
use table::{GROUPS, NAMES};

/// What a call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Its value depends on its arguments, the data, the time or chance, and on what the session has set.
    Pure,
    /// Its value depends on the connection or the server.
    Session,
    /// `LAST_INSERT_ID`.
    LastInsertId,
    /// The rows that a statement before it found.
    FoundRows,
    /// How many rows the statement before it changed.
    RowCount,
    /// `GET_LOCK` and its relatives.
    UserLock,
    /// It reads or moves a sequence.
    Sequence,
}

/// Where the parenthesis of a call may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spacing {
    /// White space does not matter.
    Free,
    /// With white space the name is that of a stored function, unless `IGNORE_SPACE` is on.
    /// MySQL Reference Manual, "Function Name Parsing and Resolution".
    Touching,
    /// So in MariaDB only; in MySQL the name is reserved.
    TouchingInMariaDb,
}

/// A family does not have the function.
const NEVER: u32 = u32::MAX;

/// Functions that are alike in all but their name.
struct Group {
    names: &'static [&'static str],
    meaning: Meaning,
    spacing: Spacing,
    mysql_since: u32,
    mariadb_since: u32,
}

static TABLE: NameTable<2048> = NameTable::new(&NAMES);

/// A built-in function the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) meaning: Meaning,
    /// White space before the parenthesis makes it another function.
    pub(crate) touching: bool,
}

/// The built-in function of this name, if the server of the context has one.
pub(crate) fn find(name: &[u8], context: &Context) -> Option<Function> {
    let (group, _) = TABLE.find(&NAMES, name)?;
    let group = GROUPS.get(group)?;
    let mariadb = context.dialect.flavor == Flavor::MariaDb;
    let since = if mariadb { group.mariadb_since } else { group.mysql_since };
    if since > context.dialect.version {
        return None;
    }
    let touching = match group.spacing {
        Spacing::Free => false,
        Spacing::Touching => true,
        Spacing::TouchingInMariaDb => mariadb,
    };
    Some(Function { meaning: group.meaning, touching })
}

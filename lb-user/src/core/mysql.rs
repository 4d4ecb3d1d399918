//! MySQL and MariaDB, as far as no socket is needed: what is said on the wire, what a statement is, and where it runs.

pub mod digests;
pub mod promotion;
pub mod protocol;
pub mod session;
pub mod sql;
pub mod topology;

//! The part of `sql_mode` that changes how a text is read.
//!
//! Owns the reading of the variable's value; it never keeps the modes that only change what a statement does.

/// The modes that change where a token begins and ends.
/// MySQL Reference Manual, "Server SQL Modes"; MariaDB, "SQL_MODE".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SqlMode {
    /// `ANSI_QUOTES`: `"x"` is an identifier, not a string.
    pub ansi_quotes: bool,
    /// `NO_BACKSLASH_ESCAPES`: a backslash in a string is a plain character.
    pub no_backslash_escapes: bool,
    /// `IGNORE_SPACE`: white space is allowed between the name of a built-in function and its parenthesis.
    pub ignore_space: bool,
    /// MariaDB's `ORACLE`: another grammar for stored programs and sequences.
    pub oracle: bool,
}

const ANSI_QUOTES: u64 = 1 << 2;
const IGNORE_SPACE: u64 = 1 << 3;
const ORACLE: u64 = 1 << 9;
/// POSTGRESQL, ORACLE, MSSQL, DB2, MAXDB and ANSI: each of them switches both of the modes above on.
const COMPOSITE: u64 = (0b1_1111 << 8) | (1 << 18);
const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;

impl SqlMode {
    /// Reads the value of `@@sql_mode`: a list of names with commas in any case, or the number of the bits.
    /// Names that do not change how text is read, and unknown ones, are passed over.
    #[must_use]
    pub fn parse(value: &str) -> Self {
        if let Ok(bits) = value.trim().parse::<u64>() {
            return Self::of_bits(bits);
        }
        let mut bits = 0;
        for name in value.split(',').map(str::trim) {
            bits |= match name.to_ascii_uppercase().as_str() {
                "ANSI_QUOTES" => ANSI_QUOTES,
                "IGNORE_SPACE" => IGNORE_SPACE,
                "NO_BACKSLASH_ESCAPES" => NO_BACKSLASH_ESCAPES,
                "ORACLE" => ORACLE,
                "ANSI" | "DB2" | "MSSQL" | "POSTGRESQL" | "MAXDB" => ANSI_QUOTES | IGNORE_SPACE,
                _ => 0,
            };
        }
        Self::of_bits(bits)
    }

    fn of_bits(bits: u64) -> Self {
        let composite = bits & COMPOSITE != 0;
        Self {
            ansi_quotes: composite || bits & ANSI_QUOTES != 0,
            no_backslash_escapes: bits & NO_BACKSLASH_ESCAPES != 0,
            ignore_space: composite || bits & IGNORE_SPACE != 0,
            oracle: bits & ORACLE != 0,
        }
    }
}

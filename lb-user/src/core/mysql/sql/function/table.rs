//! The built-in functions in groups of what they mean, how they are read and since when each family has them.
//!
//! Owns the versions; the long lists of names are in the module below. What a family had and lost again is not
//! listed for it. Sources: MySQL Reference Manual, "Built-In Function and Operator Reference"; MariaDB, "Built-in
//! Functions", and its table `information_schema.SQL_FUNCTIONS`.

mod lists;

use super::Meaning::{FoundRows, LastInsertId, Pure, RowCount, Sequence, Session, UserLock};
use super::Spacing::{Free, Touching, TouchingInMariaDb};
use super::{Group, Meaning, NEVER, Spacing};

const fn both(names: &'static [&'static str], meaning: Meaning, spacing: Spacing) -> Group {
    Group { names, meaning, spacing, mysql_since: 0, mariadb_since: 0 }
}

const fn pure(mysql_since: u32, mariadb_since: u32, names: &'static [&'static str]) -> Group {
    Group { names, meaning: Pure, spacing: Free, mysql_since, mariadb_since }
}

const fn touching(mysql_since: u32, mariadb_since: u32, names: &'static [&'static str]) -> Group {
    Group { names, meaning: Pure, spacing: Touching, mysql_since, mariadb_since }
}

const fn session(mysql_since: u32, mariadb_since: u32, names: &'static [&'static str]) -> Group {
    Group { names, meaning: Session, spacing: Free, mysql_since, mariadb_since }
}

const ALL: &[Group] = &[
    both(lists::NUMBERS, Pure, Free),
    both(lists::STRINGS, Pure, Free),
    both(lists::DATES, Pure, Free),
    both(lists::OTHERS, Pure, Free),
    both(lists::SPATIAL, Pure, Free),
    both(lists::TOUCHING, Pure, Touching),
    Group {
        names: lists::WINDOW,
        meaning: Pure,
        spacing: TouchingInMariaDb,
        mysql_since: 80_002,
        mariadb_since: 100_202,
    },
    pure(0, 100_203, lists::JSON),
    touching(0, 100_500, &["json_arrayagg", "json_objectagg"]),
    pure(80_021, 100_203, &["json_value"]),
    pure(80_017, 100_900, &["json_overlaps"]),
    pure(80_017, 110_100, &["json_schema_valid"]),
    pure(0, 101_003, &["json_pretty"]),
    pure(0, 100_502, &["json_merge_patch", "json_merge_preserve"]),
    pure(0, 101_000, &["random_bytes"]),
    pure(80_016, 110_002, &["format_pico_time"]),
    pure(0, 100_204, &["st_asgeojson", "st_geomfromgeojson"]),
    pure(0, 100_501, &["st_distance_sphere"]),
    pure(0, NEVER, lists::MYSQL),
    pure(0, NEVER, lists::MYSQL_SPATIAL),
    touching(80_024, NEVER, &["st_collect"]),
    pure(80_016, NEVER, &["format_bytes"]),
    pure(80_017, NEVER, &["json_schema_validation_report"]),
    pure(80_012, NEVER, &["st_latitude", "st_longitude"]),
    pure(80_013, NEVER, &["st_transform"]),
    pure(80_023, NEVER, &["st_frechetdistance", "st_hausdorffdistance"]),
    pure(80_024, NEVER, &["st_lineinterpolatepoint", "st_lineinterpolatepoints", "st_pointatdistance"]),
    pure(90_000, NEVER, &["from_vector", "string_to_vector", "to_vector", "vector_dim", "vector_to_string"]),
    pure(NEVER, 0, lists::MARIADB),
    pure(NEVER, 100_102, &["st_boundary", "st_isring", "st_pointonsurface", "st_relate"]),
    pure(NEVER, 100_204, &["json_compact", "json_detailed", "json_exists", "json_loose", "json_query"]),
    pure(NEVER, 100_301, &["chr", "lengthb", "nvl", "nvl2"]),
    touching(NEVER, 100_303, &["median", "percentile_cont", "percentile_disc"]),
    pure(NEVER, 100_601, &["add_months", "rownum", "sys_guid", "to_char"]),
    pure(NEVER, 100_701, &["json_equals", "json_normalize", "natural_sort_key", "sformat"]),
    pure(NEVER, 100_801, &["crc32c"]),
    pure(NEVER, 110_201, &["json_array_intersect", "json_key_value", "json_object_filter_keys"]),
    pure(NEVER, 110_201, &["json_object_to_array"]),
    pure(NEVER, 110_701, &["vec_distance_cosine", "vec_distance_euclidean", "vec_fromtext", "vec_totext"]),
    pure(NEVER, 110_701, &["uuid_v4", "uuid_v7"]),
    session(0, 0, lists::SESSION),
    session(0, NEVER, lists::SESSION_MYSQL),
    session(NEVER, 0, lists::SESSION_MARIADB),
    both(&["session_user", "system_user"], Session, Touching),
    both(&["found_rows"], FoundRows, Free),
    both(&["row_count"], RowCount, Free),
    both(&["last_insert_id"], LastInsertId, Free),
    both(lists::USER_LOCKS, UserLock, Free),
    Group {
        names: &["lastval", "nextval", "setval"],
        meaning: Sequence,
        spacing: Free,
        mysql_since: NEVER,
        mariadb_since: 0,
    },
];

/// All groups, in the order of `NAMES`.
pub(super) static GROUPS: &[Group] = ALL;

/// The names of the groups, for the table of names.
pub(super) const NAMES: [&[&str]; ALL.len()] = names();

#[allow(clippy::indexing_slicing)]
const fn names() -> [&'static [&'static str]; ALL.len()] {
    let mut names: [&'static [&'static str]; ALL.len()] = [&[]; ALL.len()];
    let mut at = 0;
    while at < ALL.len() {
        names[at] = ALL[at].names;
        at += 1;
    }
    names
}

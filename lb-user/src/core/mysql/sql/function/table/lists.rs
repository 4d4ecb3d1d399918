//! The long lists of function names, lower case.
//!
//! Owns nothing but the names. A name is in one list only.

#[rustfmt::skip]
pub(super) const NUMBERS: &[&str] = &[
    "abs", "acos", "asin", "atan", "atan2", "bin", "bit_count", "ceil", "ceiling", "conv", "cos", "cot", "crc32",
    "degrees", "exp", "floor", "greatest", "least", "ln", "log", "log10", "log2", "mod", "oct", "pi", "pow",
    "power", "radians", "rand", "round", "sign", "sin", "sqrt", "tan", "truncate",
];

#[rustfmt::skip]
pub(super) const STRINGS: &[&str] = &[
    "ascii", "bit_length", "char", "char_length", "character_length", "concat", "concat_ws", "elt", "export_set",
    "field", "find_in_set", "format", "from_base64", "hex", "insert", "instr", "lcase", "left", "length", "locate",
    "lower", "lpad", "ltrim", "make_set", "octet_length", "ord", "quote", "regexp_instr", "regexp_replace",
    "regexp_substr", "repeat", "replace", "reverse", "right", "rpad", "rtrim", "soundex", "space", "strcmp",
    "substring_index", "to_base64", "ucase", "unhex", "upper", "weight_string",
];

#[rustfmt::skip]
pub(super) const DATES: &[&str] = &[
    "addtime", "convert_tz", "current_date", "current_time", "current_timestamp", "date", "date_format",
    "datediff", "day", "dayname", "dayofmonth", "dayofweek", "dayofyear", "from_days", "from_unixtime",
    "get_format", "hour", "last_day", "localtime", "localtimestamp", "makedate", "maketime", "microsecond",
    "minute", "month", "monthname", "period_add", "period_diff", "quarter", "sec_to_time", "second", "str_to_date",
    "subtime", "time", "time_format", "time_to_sec", "timediff", "timestamp", "timestampadd", "timestampdiff",
    "to_days", "to_seconds", "unix_timestamp", "utc_date", "utc_time", "utc_timestamp", "week", "weekday",
    "weekofyear", "year", "yearweek",
];

/// Comparison, types, digests, addresses, XML, and what only waits.
#[rustfmt::skip]
pub(super) const OTHERS: &[&str] = &[
    "aes_decrypt", "aes_encrypt", "avg", "benchmark", "charset", "coalesce", "coercibility", "collation",
    "compress", "convert", "database", "extractvalue", "if", "ifnull", "inet6_aton", "inet6_ntoa", "inet_aton",
    "inet_ntoa", "is_ipv4", "is_ipv4_compat", "is_ipv4_mapped", "is_ipv6", "isnull", "md5", "name_const", "nullif",
    "schema", "sha", "sha1", "sha2", "sleep", "uncompress", "uncompressed_length", "updatexml", "uuid",
];

#[rustfmt::skip]
pub(super) const SPATIAL: &[&str] = &[
    "mbrcontains", "mbrdisjoint", "mbrequals", "mbrintersects", "mbroverlaps",
    "mbrtouches", "mbrwithin", "st_area",
    "st_asbinary", "st_astext", "st_aswkb", "st_aswkt", "st_buffer", "st_centroid", "st_contains",
    "st_convexhull", "st_crosses", "st_difference", "st_dimension", "st_disjoint", "st_distance", "st_endpoint",
    "st_envelope", "st_equals", "st_exteriorring", "st_geomcollfromtext", "st_geomcollfromwkb",
    "st_geometrycollectionfromtext", "st_geometrycollectionfromwkb", "st_geometryfromtext",
    "st_geometryfromwkb", "st_geometryn", "st_geometrytype", "st_geomfromtext", "st_geomfromwkb",
    "st_interiorringn", "st_intersection", "st_intersects", "st_isclosed", "st_isempty", "st_issimple",
    "st_length", "st_linefromtext", "st_linefromwkb", "st_linestringfromtext", "st_linestringfromwkb",
    "st_numgeometries", "st_numinteriorrings", "st_numpoints", "st_overlaps", "st_pointfromtext",
    "st_pointfromwkb", "st_pointn", "st_polyfromtext", "st_polyfromwkb", "st_polygonfromtext",
    "st_polygonfromwkb", "st_srid", "st_startpoint", "st_symdifference", "st_touches", "st_union", "st_within",
    "st_x", "st_y",
];

/// Names that are functions only where the parenthesis touches them.
#[rustfmt::skip]
pub(super) const TOUCHING: &[&str] = &[
    "adddate", "bit_and", "bit_or", "bit_xor", "cast", "count", "curdate", "curtime", "date_add", "date_sub",
    "extract", "group_concat", "max", "mid", "min", "now", "position", "std", "stddev", "stddev_pop",
    "stddev_samp", "subdate", "substr", "substring", "sum", "sysdate", "trim", "var_pop", "var_samp", "variance",
];

#[rustfmt::skip]
pub(super) const WINDOW: &[&str] = &[
    "cume_dist", "dense_rank", "first_value", "lag", "last_value", "lead", "nth_value", "ntile", "percent_rank",
    "rank", "row_number",
];

#[rustfmt::skip]
pub(super) const JSON: &[&str] = &[
    "json_array", "json_array_append", "json_array_insert", "json_contains", "json_contains_path", "json_depth",
    "json_extract", "json_insert", "json_keys", "json_length", "json_merge", "json_object", "json_quote",
    "json_remove", "json_replace", "json_search", "json_set", "json_type", "json_unquote", "json_valid",
];

/// `DEFAULT(column)` is here alone: in MariaDB the default may be the next value of a sequence.
#[rustfmt::skip]
pub(super) const MYSQL: &[&str] = &[
    "any_value", "bin_to_uuid", "default", "grouping", "gtid_subset", "gtid_subtract", "is_uuid",
    "json_storage_free", "json_storage_size", "regexp_like", "uuid_to_bin",
];

/// The constructors without `ST_` are here alone: MariaDB takes them for stored functions when the number of
/// arguments is not theirs.
#[rustfmt::skip]
pub(super) const MYSQL_SPATIAL: &[&str] = &[
    "geomcollection", "geometrycollection", "linestring", "multilinestring", "multipoint", "multipolygon", "point",
    "polygon", "mbrcoveredby", "mbrcovers", "st_buffer_strategy", "st_geohash", "st_geomcollfromtxt",
    "st_isvalid", "st_latfromgeohash", "st_longfromgeohash", "st_makeenvelope", "st_mlinefromtext",
    "st_mlinefromwkb", "st_mpointfromtext", "st_mpointfromwkb", "st_mpolyfromtext", "st_mpolyfromwkb",
    "st_multilinestringfromtext", "st_multilinestringfromwkb", "st_multipointfromtext", "st_multipointfromwkb",
    "st_multipolygonfromtext", "st_multipolygonfromwkb", "st_numinteriorring", "st_pointfromgeohash",
    "st_simplify", "st_swapxy", "st_validate",
];

#[rustfmt::skip]
pub(super) const MARIADB: &[&str] = &[
    "column_add", "column_check", "column_create", "column_delete", "column_exists", "column_get", "column_json",
    "column_list", "decode", "decode_histogram", "encode", "encrypt",
];

/// What belongs to the connection or to the server.
#[rustfmt::skip]
pub(super) const SESSION: &[&str] = &[
    "connection_id", "current_role", "current_user", "load_file", "master_pos_wait", "user", "uuid_short",
    "version",
];

#[rustfmt::skip]
pub(super) const SESSION_MYSQL: &[&str] = &[
    "icu_version", "ps_current_thread_id", "ps_thread_id", "roles_graphml", "source_pos_wait",
    "statement_digest", "statement_digest_text", "validate_password_strength", "wait_for_executed_gtid_set",
    "wait_until_sql_thread_after_gtids",
];

#[rustfmt::skip]
pub(super) const SESSION_MARIADB: &[&str] = &[
    "binlog_gtid_pos", "des_decrypt", "des_encrypt", "master_gtid_wait", "old_password", "password",
    "wsrep_last_seen_gtid", "wsrep_last_written_gtid", "wsrep_sync_wait_upto_gtid",
];

pub(super) const USER_LOCKS: &[&str] =
    &["get_lock", "is_free_lock", "is_used_lock", "release_all_locks", "release_lock"];

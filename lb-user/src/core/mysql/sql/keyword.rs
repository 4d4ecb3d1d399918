//! The words the classifier must know, and which of them may stand before a parenthesis without calling anything.
//!
//! Owns the list of keywords; the functions have their own list. It is not a list of all reserved words.

use super::Context;
use super::names::NameTable;

macro_rules! keywords {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// A word with a meaning of its own; `None` is every other word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Keyword { None, $($variant),* }
        const NAMES: &[&str] = &[$($name),*];
        const KEYWORDS: &[Keyword] = &[$(Keyword::$variant),*];
    };
}

keywords! {
    All "all", Alter "alter", Analyze "analyze", And "and", Any "any", As "as", Atomic "atomic", Backup "backup",
    Begin "begin", Between "between", Bigint "bigint", Binary "binary", Body "body", Both "both", By "by",
    Cache "cache", Call "call", Case "case", Chain "chain", Change "change", Character "character",
    Charset "charset", Check "check", Checksum "checksum", Close "close", Collate "collate", Columns "columns",
    Commit "commit", Connection "connection", Consistent "consistent", Count "count", Create "create",
    Cross "cross", CurrentRole "current_role", CurrentUser "current_user", Data "data", Database "database",
    Databases "databases", Deallocate "deallocate", Dec "dec", Decimal "decimal", Declare "declare",
    Default "default", Definer "definer", Delete "delete", Desc "desc", Describe "describe",
    Diagnostics "diagnostics", Distinct "distinct", Distinctrow "distinctrow", Div "div", Do "do",
    Double "double", Drop "drop", Else "else", Errors "errors", Event "event", Except "except",
    Execute "execute", Exists "exists", Explain "explain", Export "export", Extended "extended", False "false",
    Fields "fields", Float "float", Flush "flush", For "for", Format "format", From "from", Full "full",
    Function "function", Get "get", Global "global", Grant "grant", Group "group", Handler "handler",
    Hard "hard", Having "having", If "if", Immediate "immediate", Import "import", In "in", Index "index",
    Indexes "indexes", Inner "inner", Insert "insert", Install "install", Instance "instance", Int "int",
    Integer "integer", Intersect "intersect", Interval "interval", Into "into", Is "is", Isolation "isolation",
    Join "join", JsonTable "json_table", Key "key", Keys "keys", Kill "kill", Lateral "lateral",
    Leading "leading", Level "level", Like "like", Limit "limit", Load "load", Local "local", Lock "lock",
    Loop "loop", Match "match", Mediumint "mediumint", Names "names", Natural "natural", Next "next", No "no",
    Not "not", Null "null", Numeric "numeric", Of "of", Offset "offset", On "on", Only "only", Open "open",
    Optimize "optimize", Or "or", Order "order", Over "over", Package "package", Partition "partition",
    Partitions "partitions", Password "password", Persist "persist", PersistOnly "persist_only",
    Prepare "prepare", Previous "previous", Procedure "procedure", Query "query", Quick "quick", Read "read",
    Real "real", Recursive "recursive", Regexp "regexp", Release "release", Rename "rename", Repair "repair",
    Repeat "repeat", Replace "replace", Replica "replica", Reset "reset", Resource "resource", Returning "returning",
    Revoke "revoke", Rlike "rlike", Role "role", Rollback "rollback", Row "row", Savepoint "savepoint",
    Schema "schema", Schemas "schemas", Select "select", Sequence "sequence", Session "session", Set "set",
    Share "share", Show "show", OldReplica "slave", Smallint "smallint", Snapshot "snapshot", Soft "soft", Some "some",
    Stage "stage", Start "start", Statement "statement", Status "status", Stop "stop",
    StraightJoin "straight_join", PeriodOfSystem "system_time", Table "table", Tables "tables",
    Temporary "temporary", Then "then", Tinyint "tinyint", To "to", Trailing "trailing",
    Transaction "transaction", Trigger "trigger", Triggers "triggers", True "true", Truncate "truncate",
    Uninstall "uninstall", Union "union", Unlock "unlock", Update "update", Use "use", User "user",
    Using "using", Value "value", Values "values", Varbinary "varbinary", Varchar "varchar", View "view",
    Warnings "warnings", When "when", Where "where", While "while", With "with", Work "work", Write "write",
    Xa "xa", Xml "xml", Xor "xor",
}

const GROUPS: &[&[&str]] = &[NAMES];
static TABLE: NameTable<1024> = NameTable::new(GROUPS);

impl Keyword {
    /// The keyword an unquoted word is.
    pub(crate) fn of(word: &[u8]) -> Self {
        TABLE.find(GROUPS, word).and_then(|(_, place)| KEYWORDS.get(place)).copied().unwrap_or(Keyword::None)
    }

    /// A reserved word that is part of the grammar, so that a parenthesis after it cannot be the call of a stored
    /// function of this name. Only words of which that holds in the dialect: what is a free name in one of the
    /// families is missing here for that one.
    pub(crate) fn is_structural(self, context: &Context) -> bool {
        use Keyword as K;
        match self {
            K::All | K::And | K::As | K::Between | K::Bigint | K::Binary | K::Both | K::By | K::Case => true,
            K::Character | K::Collate | K::Cross | K::Dec | K::Decimal | K::Distinct | K::Distinctrow => true,
            K::Div | K::Double | K::Else | K::Except | K::Exists | K::Float | K::For | K::From => true,
            K::Group | K::Having | K::In | K::Index | K::Inner | K::Int | K::Integer => true,
            K::Intersect | K::Interval | K::Is | K::Join | K::Key | K::Leading | K::Like => true,
            K::Limit | K::Match | K::Mediumint | K::Natural | K::Not | K::Numeric | K::On => true,
            K::Or | K::Over | K::Partition | K::Real | K::Recursive | K::Regexp => true,
            K::Rlike | K::Row | K::Select | K::Smallint | K::StraightJoin | K::Table => true,
            K::Then | K::Tinyint | K::Trailing | K::Union | K::Using | K::Values | K::Varbinary => true,
            K::Varchar | K::When | K::Where | K::With | K::Xor => true,
            K::Lateral | K::Of => !context.is_mariadb(),
            _ => false,
        }
    }
}

//! Decides what a statement is and where it may run.
//!
//! Owns the first word of a statement; each family of statements has a module below. It never guesses: a statement
//! that does not end where its grammar ends is none of the known kinds.

mod definition;
mod finds;
mod session;
mod set;
mod show;
mod transaction;

use super::cursor::Cursor;
use super::expression::{self, Findings};
use super::keyword::Keyword as K;
use super::token::{Token, TokenKind};
use super::{AboutLast, Context, Kind, Reason, Statement};

/// What is known of a statement besides its tokens.
pub(crate) struct Facts<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) malformed: bool,
    pub(crate) hint: bool,
    pub(crate) compound: bool,
    pub(crate) context: Context,
}

/// Where a statement may run.
enum Place {
    /// On any server.
    Anywhere,
    /// On any server, unless its tokens hold a reason against it.
    AsFound,
    /// On the primary, for what its tokens hold against others, or else for that.
    AsFoundOr(Reason),
    Primary(Reason),
}

/// What a module says of a statement.
struct Verdict {
    kind: Kind,
    place: Place,
    commits: bool,
}

impl Verdict {
    fn new(kind: Kind, place: Place) -> Self {
        Self { kind, place, commits: false }
    }

    fn primary(kind: Kind, reason: Reason) -> Self {
        Self::new(kind, Place::Primary(reason))
    }

    fn read() -> Self {
        Self::new(Kind::Read, Place::AsFound)
    }

    fn write() -> Self {
        Self::primary(Kind::Write, Reason::Writes)
    }

    fn unknown() -> Self {
        Self::primary(Kind::Write, Reason::NotKnownToBeARead)
    }

    fn committing(mut self) -> Self {
        self.commits = true;
        self
    }
}

/// The statement these tokens make.
pub(crate) fn statement<'a>(tokens: &[Token], facts: &Facts<'a>) -> Statement<'a> {
    let context = &facts.context;
    let mut findings = Findings::default();
    let first = tokens.first().map_or(K::None, |token| token.keyword);
    let mut verdict = if facts.malformed {
        expression::look(tokens, context, &mut findings);
        Verdict::primary(Kind::Write, Reason::Malformed)
    } else if facts.compound {
        expression::look(tokens, context, &mut findings);
        let verdict = Verdict::write();
        if matches!(first, K::Create | K::Alter) { verdict.committing() } else { verdict }
    } else if first == K::Set {
        set::classify(Cursor::new(tokens), context, &mut findings)
    } else {
        expression::look(tokens, context, &mut findings);
        by_first_word(tokens, context, &findings)
    };
    if findings.changes_rows && verdict.kind == Kind::Read && matches!(verdict.place, Place::AsFound) {
        verdict.kind = Kind::Write;
    }
    if matches!(first, K::Call | K::Load | K::Get | K::Execute) || facts.compound {
        // Arguments that come back, columns read into variables, fields of the diagnostics area.
        findings.assigned_variables.extend_from_slice(&findings.user_variables);
    }
    let primary = match verdict.place {
        Place::Anywhere => None,
        Place::AsFound if facts.hint => findings.primary.take().or(Some(Reason::Hint)),
        Place::AsFound => findings.primary.take(),
        Place::AsFoundOr(reason) => findings.primary.take().or(Some(reason)),
        Place::Primary(reason) => Some(reason),
    };
    if matches!(primary, Some(Reason::LastStatement)) && !findings.asks_about_last.any() {
        findings.asks_about_last.warnings = true;
    }
    let asks_nothing_else = !findings.asks_for_more
        && !findings.names_tables
        && !facts.hint
        && findings.user_variables.is_empty();
    // MariaDB: the list of warnings begins anew with every statement that uses a table.
    let is_diagnosis = first == K::Get;
    let uses_tables = findings.names_tables || verdict.kind == Kind::Write && !is_diagnosis;
    if uses_tables && context.is_mariadb() {
        findings.asks_about_last.warnings = false;
    }
    // A body is kept as it is; what it asks, it asks when it runs.
    let is_view = tokens.iter().any(|token| token.keyword == K::View);
    if matches!(first, K::Create | K::Alter) && (facts.compound || is_view) {
        findings.asks_about_last = AboutLast::default();
        findings.asks_last_insert_id = false;
        findings.sets_last_insert_id = false;
    }
    let finds_rows = finds::rows(tokens, context);
    let only_asks_about_last = asks_nothing_else && primary == Some(Reason::LastStatement);
    Statement {
        text: facts.text,
        kind: verdict.kind,
        primary,
        user_variables: findings.user_variables,
        assigned_variables: findings.assigned_variables,
        asks_about_last: findings.asks_about_last,
        only_asks_about_last,
        finds_rows,
        asks_last_insert_id: findings.asks_last_insert_id,
        sets_last_insert_id: findings.sets_last_insert_id,
        uses_user_lock: findings.uses_user_lock,
        commits: verdict.commits,
        compound: facts.compound,
        context: facts.context,
    }
}

fn by_first_word(tokens: &[Token], context: &Context, findings: &Findings) -> Verdict {
    let mut cursor = Cursor::new(tokens);
    let first = cursor.next();
    match first.keyword {
        K::Select | K::With | K::Values | K::Table => Verdict::read(),
        K::Begin | K::Start | K::Commit | K::Rollback | K::Savepoint | K::Release | K::Xa => {
            transaction::classify(first.keyword, cursor)
        }
        K::Show => show::show(cursor),
        K::Explain | K::Describe | K::Desc => show::explain(cursor, false, findings),
        K::Analyze => show::analyze(cursor, context, findings),
        K::Use => session::use_schema(cursor),
        K::Do => Verdict::new(Kind::Do, Place::AsFound),
        K::Call => Verdict::primary(Kind::Call, Reason::Procedure),
        K::Prepare => session::prepare(cursor, context),
        K::Execute => session::execute(cursor, context),
        K::Deallocate => session::deallocate(cursor),
        K::Handler => session::handler(cursor),
        K::Lock | K::Unlock | K::Flush | K::Backup => session::lock(first.keyword, cursor, context),
        K::Kill => session::kill(cursor, context),
        K::Load => session::load(cursor),
        K::Get => Verdict::primary(Kind::Write, Reason::LastStatement),
        K::Insert | K::Update | K::Delete | K::Replace => Verdict::write(),
        K::Create | K::Alter | K::Drop | K::Rename => definition::classify(first.keyword, cursor),
        K::None if first.kind == TokenKind::End => Verdict::new(Kind::Empty, Place::Anywhere),
        K::None if first.is(b'(') => parenthesised(tokens),
        keyword => definition::other(keyword, cursor),
    }
}

/// `(SELECT …) UNION (SELECT …)` and the like.
fn parenthesised(tokens: &[Token]) -> Verdict {
    match tokens.iter().find(|token| !token.is(b'(')).map(|token| token.keyword) {
        Some(K::Select | K::With | K::Values | K::Table) => Verdict::read(),
        _ => Verdict::unknown(),
    }
}

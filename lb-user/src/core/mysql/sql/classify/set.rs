//! SET in all its forms.
//!
//! Owns the scope rules: a scope word holds for the items after it that have none (but for no item written with
//! `@@`), and a scope behind `@@` for its own item only. It never judges whether a variable exists.
//! MySQL Reference Manual, "SET Syntax for Variable Assignment"; MariaDB, "SET".

use super::super::cursor::Cursor;
use super::super::expression::{self, Findings};
use super::super::keyword::Keyword as K;
use super::super::token::{Token, TokenKind};
use super::super::{Assignment, Context, Kind, Reason, Scope, SqlMode, Target, Value, value};
use super::{Place, Verdict, transaction};

/// A whole statement that begins with SET.
pub(super) fn classify(mut cursor: Cursor, context: &Context, findings: &mut Findings) -> Verdict {
    cursor.next();
    if let Some(verdict) = whole(cursor, context, findings) {
        return verdict;
    }
    let mut items = Items { context, findings, sticky: K::Session, list: Vec::new() };
    while !cursor.at_end() {
        let item = cursor.item();
        items.item(item);
    }
    let list = items.list;
    let commits = list.iter().any(turns_autocommit_on);
    let changes = list.iter().any(|item| match item.target {
        Target::Global(_) | Target::Persist(_) | Target::ResourceGroup => true,
        _ => matches!(item.target, Target::Password | Target::DefaultRole),
    });
    let unknown = list.is_empty() || list.iter().any(|item| item.target == Target::Other);
    let place = match (changes, unknown) {
        (true, _) => Place::Primary(Reason::Writes),
        (false, true) => Place::Primary(Reason::NotKnownToBeARead),
        (false, false) => Place::AsFound,
    };
    let verdict = Verdict::new(Kind::Set(list), place);
    if commits { verdict.committing() } else { verdict }
}

fn turns_autocommit_on(item: &Assignment) -> bool {
    if item.target != Target::Session("autocommit".to_owned()) {
        return false;
    }
    match &item.value {
        Value::Literal { text, .. } => !matches!(text.to_ascii_lowercase().as_str(), "0" | "off" | "false"),
        Value::Expression => true,
    }
}

/// The forms that are no list of items.
fn whole(mut cursor: Cursor, context: &Context, findings: &mut Findings) -> Option<Verdict> {
    let next = cursor.ahead(1);
    let assigned = next.is(b'=') || next.kind == TokenKind::Assign;
    let single = |target, value| Kind::Set(vec![Assignment { target, value }]);
    let account =
        |target| Some(Verdict::primary(single(target, Value::Expression), Reason::Writes).committing());
    match cursor.keyword() {
        K::Statement if context.is_mariadb() && !assigned => {
            expression::look(cursor.rest(), context, findings);
            Some(Verdict::unknown())
        }
        K::Password if assigned || matches!(next.keyword, K::For | K::To) => account(Target::Password),
        K::Default if next.keyword == K::Role => account(Target::DefaultRole),
        K::Resource if next.keyword == K::Group => {
            let kind = single(Target::ResourceGroup, Value::Expression);
            Some(Verdict::primary(kind, Reason::Writes))
        }
        K::Role if !assigned => {
            cursor.next();
            let value = verbatim(cursor.rest());
            Some(Verdict::new(single(Target::Role, value), Place::Anywhere))
        }
        K::Transaction if !assigned => {
            cursor.next();
            Some(set_transaction(Scope::Next, cursor))
        }
        K::Session | K::Local | K::Global if next.keyword == K::Transaction => {
            let scope = if cursor.next().keyword == K::Global { Scope::Global } else { Scope::Session };
            cursor.next();
            Some(set_transaction(scope, cursor))
        }
        _ => None,
    }
}

fn set_transaction(scope: Scope, cursor: Cursor) -> Verdict {
    match transaction::characteristics(scope, cursor) {
        Some(kind) if scope == Scope::Global => Verdict::primary(kind, Reason::Writes),
        Some(kind) => Verdict::new(kind, Place::Anywhere),
        None => Verdict::unknown(),
    }
}

struct Items<'i> {
    context: &'i Context,
    findings: &'i mut Findings,
    /// The scope word that holds for items without one.
    sticky: K,
    list: Vec<Assignment>,
}

impl Items<'_> {
    fn item(&mut self, tokens: &[Token]) {
        let mut cursor = Cursor::new(tokens);
        let target = self.target(&mut cursor);
        let value = match (&target, cursor.rest()) {
            (Some(Target::Names { .. } | Target::CharacterSet), _) => self.character_set(&mut cursor),
            (Some(target), rest) => self.value(target, rest),
            (None, rest) => {
                expression::look(rest, self.context, self.findings);
                Value::Expression
            }
        };
        let mut target = target.unwrap_or(Target::Other);
        if let Target::Names { collation } = &mut target {
            if cursor.eat(K::Collate) {
                *collation = Some(word(&cursor.next(), self.context.mode));
            }
            if !cursor.at_end() {
                target = Target::Other;
            }
        }
        self.list.push(Assignment { target, value });
    }

    /// What is set, up to and with the sign of assignment. `None`: nothing that is known.
    fn target(&mut self, cursor: &mut Cursor) -> Option<Target> {
        let next = cursor.ahead(1);
        let assigned = next.is(b'=') || next.kind == TokenKind::Assign;
        match cursor.keyword() {
            K::Names if !assigned => {
                cursor.next();
                return Some(Target::Names { collation: None });
            }
            K::Charset if !assigned => {
                cursor.next();
                return Some(Target::CharacterSet);
            }
            K::Character if next.keyword == K::Set => {
                cursor.next();
                cursor.next();
                return Some(Target::CharacterSet);
            }
            _ => {}
        }
        let first = cursor.peek();
        let target = match first.kind {
            TokenKind::UserVariable => {
                cursor.next();
                Target::UserVariable(value::user_variable(&first, self.context.mode))
            }
            TokenKind::SystemVariable => {
                cursor.next();
                let scope = match cursor.ahead(1).is(b'.') {
                    true => scope_word(cursor.keyword()),
                    false => None,
                };
                if scope.is_some() {
                    cursor.next();
                    cursor.next();
                }
                scoped(scope.unwrap_or(K::Session), variable_name(cursor)?)
            }
            _ => {
                let scope = scope_word(cursor.keyword());
                if let Some(scope) = scope.filter(|_| !assigned && !next.is(b'.')) {
                    cursor.next();
                    self.sticky = scope;
                }
                scoped(self.sticky, variable_name(cursor)?)
            }
        };
        let sign = cursor.next();
        (sign.is(b'=') || sign.kind == TokenKind::Assign).then_some(target)
    }

    fn value(&mut self, target: &Target, tokens: &[Token]) -> Value {
        let to_user_variable = matches!(target, Target::UserVariable(_));
        if let Some(text) = literal(tokens, to_user_variable, self.context.mode) {
            return Value::Literal { text, sql: source(tokens) };
        }
        if tokens.is_empty() {
            self.findings.primary.get_or_insert(Reason::NotKnownToBeARead);
        }
        expression::look(tokens, self.context, self.findings);
        Value::Expression
    }

    /// One word, string or DEFAULT.
    fn character_set(&mut self, cursor: &mut Cursor) -> Value {
        let token = cursor.next();
        match literal(&[token], false, self.context.mode) {
            Some(text) => Value::Literal { text, sql: token.text.to_vec() },
            None => {
                self.findings.primary.get_or_insert(Reason::NotKnownToBeARead);
                Value::Expression
            }
        }
    }
}

fn scope_word(keyword: K) -> Option<K> {
    match keyword {
        K::Session | K::Local => Some(K::Session),
        K::Global | K::Persist | K::PersistOnly => Some(keyword),
        _ => None,
    }
}

fn scoped(scope: K, name: String) -> Target {
    match scope {
        K::Global => Target::Global(name),
        K::Persist | K::PersistOnly => Target::Persist(name),
        _ => Target::Session(name),
    }
}

/// A name that may have dots, lower case.
fn variable_name(cursor: &mut Cursor) -> Option<String> {
    let mut name = cursor.name()?.to_ascii_lowercase();
    while cursor.eat_mark(b'.') {
        name.push('.');
        name.push_str(&cursor.name()?.to_ascii_lowercase());
    }
    Some(name)
}

/// The text of a value that is the same on every server; `None` for all others.
fn literal(tokens: &[Token], to_user_variable: bool, mode: SqlMode) -> Option<String> {
    match tokens {
        [sign, number] if (sign.is(b'-') || sign.is(b'+')) && number.kind == TokenKind::Number => {
            let digits = word(number, mode);
            Some(if sign.is(b'-') { format!("-{digits}") } else { digits })
        }
        [token] => match token.kind {
            TokenKind::Number | TokenKind::String => Some(word(token, mode)),
            TokenKind::Word | TokenKind::Quoted => {
                let constant = matches!(token.keyword, K::True | K::False | K::Null);
                // To a system variable a bare word is a string; the words below are functions even there.
                let bare = !to_user_variable && !is_function_word(token);
                (constant || bare).then(|| word(token, mode))
            }
            _ => None,
        },
        _ => None,
    }
}

fn is_function_word(token: &Token) -> bool {
    const WORDS: [&str; 10] = [
        "current_date",
        "current_role",
        "current_time",
        "current_timestamp",
        "current_user",
        "localtime",
        "localtimestamp",
        "utc_date",
        "utc_time",
        "utc_timestamp",
    ];
    WORDS.into_iter().any(|word| token.is_word(word))
}

/// A word in lower case, a string without quotes, a number as written.
fn word(token: &Token, mode: SqlMode) -> String {
    match token.kind {
        TokenKind::String => String::from_utf8_lossy(&value::string(token, mode)).into_owned(),
        TokenKind::Quoted => value::name(token),
        TokenKind::Word => value::name(token).to_lowercase(),
        _ => String::from_utf8_lossy(token.text).into_owned(),
    }
}

/// Tokens as they were written, without what stood between them.
fn source(tokens: &[Token]) -> Vec<u8> {
    let mut sql = Vec::new();
    for token in tokens {
        if !sql.is_empty() && (token.is_name() || token.is_literal()) && !sql.ends_with(b"-") {
            sql.push(b' ');
        }
        sql.extend_from_slice(token.text);
    }
    sql
}

/// All tokens as one literal, for the roles of SET ROLE.
fn verbatim(tokens: &[Token]) -> Value {
    let sql = source(tokens);
    Value::Literal { text: String::from_utf8_lossy(&sql).to_lowercase(), sql }
}

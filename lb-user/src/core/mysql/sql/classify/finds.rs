//! Which statements `FOUND_ROWS()` is about from then on.
//!
//! Owns what servers do, not what their manuals say: measured with MariaDB 10.11 and MySQL 9.7, which differ.

use super::super::Context;
use super::super::keyword::Keyword as K;
use super::super::token::Token;

/// Whether that statement sets what `FOUND_ROWS()` says.
pub(super) fn rows(tokens: &[Token], context: &Context) -> bool {
    let first = tokens.first().map_or(K::None, |token| token.keyword);
    let has = |keyword: K| tokens.iter().any(|token| token.keyword == keyword);
    let selects = has(K::Select);
    match first {
        K::Select | K::With | K::Values | K::Table | K::Call => true,
        K::None => tokens.first().is_some_and(|token| token.is(b'(')),
        K::Show => !tells_by_itself(tokens),
        K::Explain | K::Describe | K::Desc => context.is_mariadb() || !explains(tokens),
        K::Analyze => context.is_mariadb() && selects,
        K::Insert | K::Replace => selects || tokens.iter().skip(1).any(|token| token.keyword == K::Table),
        K::Update => selects || !context.is_mariadb() || updates_several(tokens),
        K::Delete => selects || has(K::Using) || deletes_of_a_join(tokens),
        K::Do => selects,
        K::Set => selects && context.is_mariadb(),
        K::Create => selects && context.is_mariadb() && has(K::Table) && !has(K::View),
        _ => false,
    }
}

/// What SHOW tells without asking a table.
fn tells_by_itself(tokens: &[Token]) -> bool {
    let words = [
        "create",
        "processlist",
        "grants",
        "warnings",
        "errors",
        "count",
        "master",
        "slave",
        "replica",
        "replicas",
        "binary",
        "binlog",
        "relaylog",
        "engine",
        "profile",
        "profiles",
        "explain",
        "privileges",
        "contributors",
        "authors",
        "all",
    ];
    let mut after = tokens.iter().skip(1).skip_while(|token| token.is_word("full"));
    after.next().is_some_and(|token| words.iter().any(|word| token.is_word(word)))
}

/// `EXPLAIN` of a statement, not of a table.
fn explains(tokens: &[Token]) -> bool {
    let kinds = [K::Select, K::With, K::Values, K::Insert, K::Update, K::Delete, K::Replace, K::For];
    tokens.iter().skip(1).any(|token| kinds.contains(&token.keyword))
}

/// `UPDATE a, b SET …`, `UPDATE a JOIN b SET …`.
fn updates_several(tokens: &[Token]) -> bool {
    let tables = tokens.iter().take_while(|token| token.keyword != K::Set);
    tables.skip(1).any(|token| token.is(b',') || token.keyword == K::Join)
}

/// `DELETE a FROM a JOIN b`.
fn deletes_of_a_join(tokens: &[Token]) -> bool {
    let modifiers = ["low_priority", "quick", "ignore"];
    let mut after =
        tokens.iter().skip(1).skip_while(|token| modifiers.iter().any(|modifier| token.is_word(modifier)));
    after.next().is_some_and(|token| token.keyword != K::From)
}

//! The reference and the schema for editors are what the comments on the fields of the file's tables say;
//! `cargo xtask bless reference` writes both anew.
//!
//! Keys and texts come from the schema, the order of keys from the reader: it lists them all to whoever writes a
//! wrong one under a heading, which also proves the heading right.

use crate::blessed::expect_file;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

use crate::config::file::File;

/// The heading of the file's own keys, which stand under none.
const WHOLE_FILE: &str = "the file";
const BEGIN: &str = "<!-- keys of ";
const END: &str = "<!-- end of keys -->";
const HEAD: &str = "| key | type | default | meaning and limits |\n|---|---|---|---|\n";

#[test]
fn the_reference_tells_every_key_and_no_other() {
    let schema = schema_of_the_code();
    let mut rendered = BTreeMap::new();
    for (heading, table) in tables(&schema) {
        let text = rows(&heading, table);
        assert!(rendered.insert(heading.clone(), text).is_none(), "two tables are called {heading}");
    }
    let document = std::fs::read_to_string(in_docs("configuration.md")).expect("the reference is there");
    expect_file(&in_docs("configuration.md"), &with_regions(&document, rendered), "reference");
}

#[test]
fn the_schema_is_what_editors_are_given() {
    let mut schema = schema_of_the_code();
    schema.insert("title".to_owned(), "lbctl's configuration".into());
    tell_meanings(WHOLE_FILE, schema.get_mut("properties"));
    let definitions = schema.get_mut("definitions").and_then(Value::as_object_mut);
    for (name, table) in definitions.into_iter().flatten() {
        tell_meanings(name, table.get_mut("properties"));
    }
    let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    expect_file(&in_docs("configuration.schema.json"), &(text + "\n"), "reference");
}

#[test]
fn a_comment_that_is_no_row_is_refused() {
    let [kind, default, meaning] = row("[t]", "k", "text | `\"a\"` | one\n of `a\\|b`");
    assert_eq!([kind, default, meaning], ["text", "`\"a\"`", "one of `a\\|b`"]);
    for comment in ["", "text | none", "text |  | why", "text | none | a | b", "text | none | a|b"] {
        assert!(std::panic::catch_unwind(|| row("[t]", "k", comment)).is_err(), "{comment:?}");
    }
}

/// The schema whose descriptions are the comments as they were written. Draft 7 is what editors of TOML know.
fn schema_of_the_code() -> Schema {
    let settings = SchemaSettings::draft07().with_transform(RecursiveTransform(without_null));
    settings.into_generator().into_root_schema_for::<File>()
}

/// TOML has no null: a key without a value is left out. Sizes of numbers are the code's own business.
fn without_null(schema: &mut Schema) {
    schema.remove("format");
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        // A reference stays where it is: beside one, editors do not look at a description.
        if let [Value::Object(only)] = choices.as_slice()
            && !only.contains_key("$ref")
        {
            let only = only.clone();
            schema.remove("anyOf");
            schema.ensure_object().extend(only);
        }
    }
}

/// The tables of the file with their headings.
fn tables(schema: &Schema) -> Vec<(String, &Value)> {
    let definitions = schema.get("definitions").and_then(Value::as_object);
    let inside = definitions.into_iter().flatten().map(|(name, table)| {
        let comment = table["description"].as_str().unwrap_or_default();
        let heading = comment.lines().next().unwrap_or_default().trim_matches('`');
        assert!(heading.starts_with('['), "{name}: its comment does not begin with a heading: {comment:?}");
        (heading.to_owned(), table)
    });
    let tables: Vec<_> = [(WHOLE_FILE.to_owned(), schema.as_value())].into_iter().chain(inside).collect();
    for (heading, table) in &tables {
        assert_eq!(table["additionalProperties"], false, "{heading}: unknown keys have to be errors");
    }
    tables
}

/// The keys that may stand under a heading, in the order of the code.
fn keys_under(heading: &str) -> Vec<String> {
    let header = if heading == WHOLE_FILE { "" } else { heading };
    let error = toml::from_str::<File>(&format!("{header}\n\"?\" = 0\n")).expect_err("no key is called that");
    let words: Vec<&str> = error.message().split('`').collect();
    assert_eq!(words[..2], ["unknown field ", "?"], "{heading} is no table of the file: {}", error.message());
    words.into_iter().skip(3).step_by(2).map(str::to_owned).collect()
}

/// The rows of a table as the reference has them.
fn rows(heading: &str, table: &Value) -> String {
    let properties = table["properties"].as_object().expect("a table has keys");
    let keys = keys_under(heading);
    assert_eq!(keys.len(), properties.len(), "{heading} is the heading of another table");
    let mut text = HEAD.to_owned();
    for key in keys {
        let property = properties.get(&key);
        let property = property.unwrap_or_else(|| panic!("{heading} is the heading of a table with {key}"));
        let [kind, default, meaning] = row(heading, &key, comment_on(property));
        writeln!(text, "| `{key}` | {kind} | {default} | {meaning} |").expect("a text takes more");
    }
    text
}

fn comment_on(property: &Value) -> &str {
    property["description"].as_str().unwrap_or_default()
}

/// The parts of a comment on a field.
fn row(heading: &str, key: &str, comment: &str) -> [String; 3] {
    let line = comment.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let parts: Vec<String> = line.split(" | ").map(|part| part.trim().to_owned()).collect();
    let is_cell = |part: &String| !part.is_empty() && !part.replace("\\|", "").contains('|');
    let is_row = parts.iter().all(is_cell);
    let parts = <[String; 3]>::try_from(parts).ok().filter(|_| is_row);
    parts.unwrap_or_else(|| panic!("{heading} {key}: `{line}` is not TYPE | DEFAULT | MEANING AND LIMITS"))
}

/// The document with the code's tables in its regions.
fn with_regions(document: &str, mut tables: BTreeMap<String, String>) -> String {
    let mut text = String::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        writeln!(text, "{line}").expect("a text takes more");
        let Some(heading) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(" -->")) else {
            continue;
        };
        let table = tables.remove(heading);
        let table = table.unwrap_or_else(|| panic!("{heading} is no table, or in the reference twice"));
        assert!(lines.by_ref().any(|line| line == END), "the keys of {heading} have no end");
        writeln!(text, "\n{table}\n{END}").expect("a text takes more");
    }
    assert!(tables.is_empty(), "the reference has no place for {:?}", tables.keys());
    text
}

/// Makes of the comments on keys what an editor shows beside them.
fn tell_meanings(table: &str, properties: Option<&mut Value>) {
    for (key, property) in properties.and_then(Value::as_object_mut).into_iter().flatten() {
        let [kind, default, meaning] = row(table, key, comment_on(property));
        let is_said = default.starts_with("required") || default.starts_with("none");
        let default = if is_said { default } else { format!("default {default}") };
        property["description"] = format!("{kind}; {default}\n\n{meaning}").replace("\\|", "|").into();
    }
}

fn in_docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

//! Who may name whom: the rules that keep core free of I/O, io modules apart, and cli and tui outside.
//!
//! Owns the layering rules of `docs/ARCHITECTURE.md`. Never looks at style.

use super::Finding;
use super::source::{NamedPath, Source, Token};

const CORE: &str = "lb-user/src/core";
const LIBRARY: &str = "lb-user/src/";
const SOCKETS: [&str; 6] =
    ["TcpStream", "TcpListener", "UdpSocket", "UnixStream", "UnixListener", "UnixDatagram"];
const OUTSIDE_CORE: [&str; 7] = ["tokio", "aya", "rand", "socket2", "nix", "libc", "rtnetlink"];

/// All rules about who names whom.
pub(crate) fn check(source: &Source, found: &mut Vec<Finding>) {
    if !source.is_rust() {
        return;
    }
    let paths = source.paths();
    core_is_pure(source, &paths, found);
    modules_keep_apart(source, &paths, found);
    only_the_dataplane_names_aya(source, &paths, found);
    end_to_end_tests_stay_outside(source, &paths, found);
    unsafe_is_confined(source, found);
}

fn core_is_pure(source: &Source, paths: &[NamedPath], found: &mut Vec<Finding>) {
    if !source.path.starts_with(CORE) {
        return;
    }
    for path in paths.iter().filter(|path| !source.is_test_line(path.line)) {
        let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        let crate_name = segments.first().filter(|first| segments.len() > 1 && OUTSIDE_CORE.contains(first));
        let socket = segments.iter().find(|segment| SOCKETS.contains(segment));
        if let Some(name) = crate_name.or(socket) {
            found.push(source.at(path.line, format!("core does no I/O, so it never names `{name}`")));
        }
        let clock = segments.windows(2).any(|pair| pair == ["Instant", "now"]);
        if clock || segments.contains(&"SystemTime") {
            found.push(source.at(path.line, "core has no clock: take `now: Instant` as an argument"));
        }
    }
}

/// The module path of a file in lb-user, without `crate`; `None` for files elsewhere.
fn module_of(path: &str) -> Option<Vec<&str>> {
    let inside = path.strip_prefix(LIBRARY)?.strip_suffix(".rs")?;
    let mut parts: Vec<&str> = inside.split('/').collect();
    if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
        parts.pop();
    }
    Some(parts)
}

/// A path as seen from the crate's root; `None` when it leads out of the crate or is a local name.
fn resolve<'a>(module: &[&'a str], in_tests: bool, path: &'a NamedPath) -> Option<Vec<&'a str>> {
    let mut segments = path.segments.iter().map(String::as_str).peekable();
    let mut base: Vec<&str> = module.to_vec();
    if in_tests {
        base.push("tests");
    }
    match segments.next()? {
        "crate" | "lb_user" => base.clear(),
        "self" => {}
        "super" => {
            base.pop();
            while segments.next_if_eq(&"super").is_some() {
                base.pop();
            }
        }
        _ => return None,
    }
    base.extend(segments);
    Some(base)
}

fn modules_keep_apart(source: &Source, paths: &[NamedPath], found: &mut Vec<Finding>) {
    let Some(module) = module_of(&source.path) else { return };
    let Some(&own) = module.first() else { return };
    for path in paths {
        let in_tests = source.tests_from.is_some_and(|from| path.line >= from);
        let Some(target) = resolve(&module, in_tests, path) else { continue };
        if let Some(message) = crossing(own, &module, &target) {
            found.push(source.at(path.line, message));
        }
    }
}

/// Why a module must not name a target, if it must not.
fn crossing(own: &str, module: &[&str], target: &[&str]) -> Option<String> {
    let &there = target.first()?;
    let sibling = || {
        let (mine, theirs) = (module.get(1)?, target.get(1)?);
        let is_module = theirs.starts_with(|c: char| c.is_ascii_lowercase());
        (there == own && is_module && mine != theirs).then(|| format!("{own}/{mine}, {own}/{theirs}"))
    };
    match own {
        "core" if ["io", "agent", "api", "cli", "tui"].contains(&there) => {
            Some(format!("core never names `crate::{there}`: it returns actions instead"))
        }
        "core" if module.get(1) != Some(&"plan") => {
            sibling().map(|pair| format!("siblings in core meet only in core/plan ({pair})"))
        }
        "io" if ["agent", "cli", "tui"].contains(&there) => {
            Some(format!("io never names `crate::{there}`: it sends events"))
        }
        "io" => sibling().map(|pair| format!("io modules never name each other ({pair})")),
        "cli" | "tui" => {
            let inner = ["config", "core", "io", "agent", "cli", "tui"];
            (there != own && inner.contains(&there))
                .then(|| format!("{own} sees only `crate::api` and `crate::model`, not `crate::{there}`"))
        }
        _ => None,
    }
}

fn only_the_dataplane_names_aya(source: &Source, paths: &[NamedPath], found: &mut Vec<Finding>) {
    if !source.path.starts_with(LIBRARY) || source.path.starts_with("lb-user/src/io/dataplane") {
        return;
    }
    for path in paths.iter().filter(|path| path.segments.len() > 1 && path.segments[0] == "aya") {
        found.push(source.at(path.line, "only io/dataplane names aya"));
    }
}

fn end_to_end_tests_stay_outside(source: &Source, paths: &[NamedPath], found: &mut Vec<Finding>) {
    if !source.path.starts_with("tests/e2e/") {
        return;
    }
    let packets = source.path.starts_with("tests/e2e/packets");
    for path in paths.iter().filter(|path| path.segments[0] == "lb_user") {
        let inside: Vec<&str> = path.segments[1..].iter().map(String::as_str).collect();
        let allowed = match inside[..] {
            [] => false,
            ["api" | "model", ..] => true,
            ["io", "dataplane", ..] | ["core", "plan", ..] => packets,
            _ => false,
        };
        if !allowed {
            let message = "end-to-end tests use the binary, `lb_user::api` and `lb_user::model` only \
                           (packet cases in tests/e2e/packets: `io::dataplane` and `core::plan` too)";
            found.push(source.at(path.line, message));
        }
    }
}

fn unsafe_is_confined(source: &Source, found: &mut Vec<Finding>) {
    let home = ["lb-ebpf/src/bpf", "lb-user/src/io"].iter().any(|home| source.path.starts_with(home));
    let lines: Vec<&str> = source.text.lines().collect();
    let tokens = source.tokens();
    for (index, (line, token)) in tokens.iter().enumerate() {
        let next = tokens.get(index + 1).map(|token| &token.1);
        // `#[unsafe(link_section = …)]` is an attribute: it has no block to explain.
        if *token != Token::Word("unsafe") || next == Some(&Token::Mark('(')) {
            continue;
        }
        if !home {
            found.push(source.at(*line, "`unsafe` belongs into lb-ebpf/src/bpf or lb-user/src/io"));
        }
        let needs_reason = matches!(next, Some(Token::Mark('{') | Token::Word("impl")));
        let above = &lines[line.saturating_sub(4)..(*line).min(lines.len())];
        if needs_reason && !above.iter().any(|text| text.contains("SAFETY:")) {
            found.push(source.at(*line, "say in a `// SAFETY:` comment right above why this is sound"));
        }
    }
}

#[cfg(test)]
mod tests;

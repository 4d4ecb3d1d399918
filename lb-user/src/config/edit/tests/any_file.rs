//! Any configuration, written in any of the ways there are, with comments in all places.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::config::{Config, generate};
use crate::model::Mode;

/// How a service is written.
#[derive(Clone, Copy, Debug)]
enum Way {
    Headers,
    SpacedHeaders,
    List,
    LongList,
    Inline,
    Dotted,
}

fn way() -> impl Strategy<Value = Way> {
    let ways = [Way::Headers, Way::SpacedHeaders, Way::List, Way::LongList, Way::Inline, Way::Dotted];
    proptest::sample::select(ways.to_vec())
}

/// The lines of a service's own keys, of its tables by their names, and of its backends.
type Parts = (Vec<String>, Vec<(&'static str, Vec<String>)>, Vec<String>);

/// Takes the tables of a service apart.
fn parts(service: &Service) -> Parts {
    let mut bare = service.clone();
    bare.backends.clear();
    (bare.health, bare.proxy, bare.tls, bare.backend_tls, bare.mysql) = (None, None, None, None, None);
    let lines = |text: String| -> Vec<String> {
        text.lines().filter(|line| line.contains(" = ")).map(str::to_owned).collect()
    };
    let own = lines(render::service(&bare));
    let table = |full: Service| lines(render::service(&full)).get(own.len()..).unwrap_or_default().to_vec();
    let health = table(Service { health: service.health.clone(), ..bare.clone() });
    let proxy = table(Service { proxy: service.proxy.clone(), ..bare.clone() });
    let tls = table(Service { tls: service.tls.clone(), ..bare.clone() });
    let backend_tls = table(Service { backend_tls: service.backend_tls.clone(), ..bare.clone() });
    let mysql = table(Service { mysql: service.mysql.clone(), ..bare.clone() });
    let tables =
        [("health", health), ("proxy", proxy), ("tls", tls), ("backend_tls", backend_tls), ("mysql", mysql)];
    let tables = tables.into_iter().filter(|(_, lines)| !lines.is_empty());
    let tables = tables.collect();
    (own, tables, service.backends.iter().map(render::inline_backend).collect())
}

/// Writes a service; every comment that must outlive its neighbours is marked with `keep`.
fn write_service(service: &Service, way: Way) -> String {
    let (own, tables, backends) = parts(service);
    let name = toml_edit::Key::new(service.name.as_str());
    let mut text = String::new();
    match way {
        Way::Headers => text = render::service(service).replace("\n\n", "\n"),
        Way::SpacedHeaders => {
            text =
                render::service(service).replace("\n\n", "\n# its own\n\n# keep: part\n\n# about the next\n");
        }
        Way::List | Way::LongList => {
            let (open, between, close) = if matches!(way, Way::List) {
                ("[", ", ", "]")
            } else {
                ("[ # list\n\t", ", # own\n\t", "\n]")
            };
            writeln!(text, "[service.{name}]\n{} # own", own.join("\n")).unwrap();
            writeln!(text, "backend = {open}{}{close} # own", backends.join(between)).unwrap();
            for (table, lines) in tables {
                writeln!(text, "[service.{name}.{table}]\n{}", lines.join("\n")).unwrap();
            }
        }
        Way::Inline => {
            let tables: String = tables
                .iter()
                .map(|(table, lines)| format!(", {table} = {{ {} }}", lines.join(", ")))
                .collect();
            let backends = backends.join(",");
            writeln!(text, "service.{name} = {{ {}{tables}, backend = [{backends}] }} # own", own.join(", "))
                .unwrap();
        }
        Way::Dotted => {
            own.iter().for_each(|line| writeln!(text, "service.{name}.{line}").unwrap());
            for (table, lines) in tables {
                lines.iter().for_each(|line| writeln!(text, "service.{name}.{table}.{line} # own").unwrap());
            }
            writeln!(text, "service.{name}.backend = [{}]", backends.join(" , ")).unwrap();
        }
    }
    text
}

/// Writes a whole file: first what has no header.
fn write(config: &Config, ways: &[Way]) -> String {
    let written: Vec<(Way, String)> = config
        .services
        .values()
        .zip(ways.iter().cycle())
        .map(|(service, way)| (*way, write_service(service, *way)))
        .collect();
    let top = |way: &Way| matches!(way, Way::Inline | Way::Dotted);
    let mut text = "# keep: the top\n\n".to_owned();
    written.iter().filter(|(way, _)| top(way)).for_each(|(_, part)| text.push_str(part));
    text.push_str(&generate::write_without_services(config));
    for (_, part) in written.iter().filter(|(way, _)| !top(way)) {
        text.push_str("\n# keep: a remark\n\n");
        text.push_str(part);
    }
    text.push_str("\n# keep: the end\n");
    text
}

fn read(text: &str) -> Config {
    match Config::parse(text, "test.toml") {
        Ok(config) => config,
        Err(errors) => panic!("{errors}\n{text}"),
    }
}

fn kept(text: &str) -> usize {
    text.matches("# keep:").count()
}

/// Checks one edit: the file says the changed configuration, every comment to keep is there, and no
/// line is there that was not, but the new ones.
fn judge(before: &str, after: &str, expected: &Config) -> Result<(), TestCaseError> {
    prop_assert_eq!(&read(after), expected, "before:\n{}\nafter:\n{}", before, after);
    prop_assert_eq!(kept(before), kept(after), "before:\n{}\nafter:\n{}", before, after);
    Ok(())
}

fn written_config() -> impl Strategy<Value = (Config, String)> {
    (generate::config(), proptest::collection::vec(way(), 1..4)).prop_map(|(config, ways)| {
        let text = write(&config, &ways);
        (config, text)
    })
}

/// A backend that no generated service has, with both families.
fn new_backend() -> Backend {
    let mut backend = web3();
    backend.addresses.push("[fd80::23]:80".parse().unwrap());
    backend
}

proptest! {
    #[test]
    fn a_written_configuration_is_read_as_it_was((config, text) in written_config()) {
        prop_assert_eq!(read(&text), config, "{}", text);
    }

    #[test]
    fn backends_can_be_added_set_and_removed_in_any_file((config, text) in written_config(), crlf in any::<bool>()) {
        let mut expected = config.clone();
        let mut text = if crlf { text.replace('\n', "\r\n") } else { text };
        for (name, service) in config.services.iter().filter(|(_, service)| service.mode.has_backends()) {
            let mut new = new_backend();
            if service.mode == Mode::Dsr {
                new.addresses.iter_mut().for_each(|address| address.set_port(service.port));
            }
            let added = add_backend(&text, name, &new).unwrap();
            expected.services.get_mut(name).unwrap().backends.push(new);
            judge(&text, &added, &expected)?;
            text = added;
            for (position, old) in service.backends.iter().enumerate() {
                let (weight, state) = (Weight::new(9).unwrap(), AdminState::Maint);
                let set = set_backend(&text, name, &old.name, Some(weight), Some(state), Some(7)).unwrap();
                let changed = &mut expected.services.get_mut(name).unwrap().backends[position];
                (changed.weight, changed.state, changed.max_flows) = (weight, state, 7);
                judge(&text, &set, &expected)?;
                text = set;
            }
            for old in &service.backends {
                let removed = remove_backend(&text, name, &old.name).unwrap();
                expected.services.get_mut(name).unwrap().backends.remove(0);
                judge(&text, &removed, &expected)?;
                text = removed;
            }
            let removed = remove_backend(&text, name, &new_backend().name).unwrap();
            expected.services.get_mut(name).unwrap().backends.clear();
            judge(&text, &removed, &expected)?;
            text = removed;
        }
        prop_assert_eq!(crlf, text.contains('\r'));
    }

    #[test]
    fn services_can_be_added_and_removed_in_any_file((config, text) in written_config(), other in generate::config()) {
        let mut expected = config.clone();
        let mut text = text;
        for name in config.services.keys() {
            let removed = remove_service(&text, name).unwrap();
            expected.services.remove(name);
            judge(&text, &removed, &expected)?;
            text = removed;
        }
        for service in other.services.values() {
            let mut service = service.clone();
            service.vips = config.vips.keys().cloned().collect();
            let added = add_service(&text, &service).unwrap();
            prop_assert!(added.starts_with(&text));
            expected.services.insert(service.name.clone(), service);
            judge(&text, &added, &expected)?;
            text = added;
        }
    }
}

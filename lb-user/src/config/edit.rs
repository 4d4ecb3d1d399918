//! Writes a change into the text of a configuration file and leaves everything else as it was.
//!
//! The parser only tells where things stand; the text itself is cut and pasted there, so comments, order,
//! spaces and line ends elsewhere stay byte for byte. Each edit is read back and compared with what it
//! should have done before it is given out. Owns how added tables look. Never checks whether the result
//! makes sense: that is for [`super::Config::parse`].

mod cut;
mod paste;
mod render;
mod rules;

use toml_edit::{Document, Item, TableLike};

pub(super) use self::render::service as service_table;
pub(super) use self::rules::rule_table;
pub use self::rules::{add_rule, remove_rule};
use super::error::did_you_mean;
use super::{Backend, Service};
use crate::model::{AdminState, AtLimit, BackendName, RuleName, SchedulerKind, ServiceName, Weight};

/// Why an edit was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The text is not TOML.
    #[error("the file is not TOML: {why}")]
    NotToml {
        /// What the parser says.
        why: String,
    },
    /// The file has no such service.
    #[error("there is no service \"{service}\"{}", hint(suggestion))]
    NoService {
        /// Its name.
        service: ServiceName,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// The service has no such backend.
    #[error("service \"{service}\" has no backend \"{backend}\"{}", hint(suggestion))]
    NoBackend {
        /// The service.
        service: ServiceName,
        /// The backend's name.
        backend: BackendName,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// The file has a service of this name already.
    #[error("there is a service \"{service}\" already")]
    ServiceExists {
        /// Its name.
        service: ServiceName,
    },
    /// The service has a backend of this name already.
    #[error("service \"{service}\" has a backend \"{backend}\" already")]
    BackendExists {
        /// The service.
        service: ServiceName,
        /// The backend's name.
        backend: BackendName,
    },
    /// The firewall has no such rule.
    #[error("the firewall has no rule \"{rule}\"{}", hint(suggestion))]
    NoRule {
        /// Its name.
        rule: RuleName,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// The firewall has a rule of this name already.
    #[error("the firewall has a rule \"{rule}\" already")]
    RuleExists {
        /// Its name.
        rule: RuleName,
    },
    /// The rules are written in a way that these edits do not know.
    #[error(
        "cannot edit the firewall's rules in the way the file is written; write them as [[firewall.rule]], or make \
         the change by hand and run `lbctl apply`"
    )]
    UnfamiliarRules,
    /// The file is written in a way that these edits do not know.
    #[error(
        "cannot edit {what} in the way the file is written; write it as [service.NAME] and \
         [[service.NAME.backend]], or make the change by hand and run `lbctl apply`"
    )]
    Unfamiliar {
        /// What was to be edited.
        what: String,
    },
}

fn hint(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|suggestion| format!("; {suggestion}")).unwrap_or_default()
}

/// The name that was meant, or else all there are.
fn suggest(given: &str, known: Vec<&str>) -> Option<String> {
    let all = || (!known.is_empty()).then(|| format!("there are: {}", known.join(", ")));
    did_you_mean(given, known.iter().copied()).or_else(all)
}

/// A piece of text to put in the place of another.
struct Splice {
    place: std::ops::Range<usize>,
    text: String,
}

/// The text of a file with the places of what is in it.
struct Sheet<'a> {
    text: &'a str,
    document: Document<&'a str>,
}

impl<'a> Sheet<'a> {
    fn read(text: &'a str) -> Result<Self, EditError> {
        match Document::parse(text) {
            Ok(document) => Ok(Self { text, document }),
            Err(error) => Err(EditError::NotToml { why: error.message().replace('\n', "; ") }),
        }
    }

    /// The line end this file uses.
    fn newline(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    fn service(&self, name: &ServiceName) -> Result<&Item, EditError> {
        let services = self.document.as_table().get("service").and_then(Item::as_table_like);
        services.and_then(|services| services.get(name.as_str())).ok_or_else(|| {
            let known = services.into_iter().flat_map(|services| services.iter()).map(|(name, _)| name);
            EditError::NoService {
                service: name.clone(),
                suggestion: suggest(name.as_str(), known.collect()),
            }
        })
    }

    /// The backends of a service, whichever way they are written.
    fn backends(&self, service: &ServiceName) -> Result<Vec<&dyn TableLike>, EditError> {
        let item = self.service(service)?.as_table_like().and_then(|table| table.get("backend"));
        let tables: Option<Vec<&dyn TableLike>> = match item {
            None => Some(Vec::new()),
            Some(Item::ArrayOfTables(tables)) => {
                Some(tables.iter().map(|table| table as &dyn TableLike).collect())
            }
            Some(item) => item.as_array().and_then(|list| {
                list.iter()
                    .map(|value| value.as_inline_table().map(|table| table as &dyn TableLike))
                    .collect()
            }),
        };
        tables.ok_or_else(|| EditError::Unfamiliar { what: format!("the backends of service {service}") })
    }

    /// The position of a backend among those of its service.
    fn position(&self, service: &ServiceName, backend: &BackendName) -> Result<usize, EditError> {
        let backends = self.backends(service)?;
        let names =
            || backends.iter().map(|table| table.get("name").and_then(Item::as_str).unwrap_or_default());
        names().position(|name| name == backend.as_str()).ok_or_else(|| EditError::NoBackend {
            service: service.clone(),
            backend: backend.clone(),
            suggestion: suggest(backend.as_str(), names().collect()),
        })
    }
}

/// Makes the replacements, of which none overlap.
fn splice(text: &str, mut splices: Vec<Splice>) -> String {
    splices.sort_by_key(|splice| splice.place.start);
    let mut result = text.to_owned();
    for Splice { place, text } in splices.into_iter().rev() {
        result.replace_range(place, &text);
    }
    result
}

/// Adds a backend behind the others of its service.
pub fn add_backend(text: &str, service: &ServiceName, backend: &Backend) -> Result<String, EditError> {
    let sheet = Sheet::read(text)?;
    if sheet.position(service, &backend.name).is_ok() {
        return Err(EditError::BackendExists { service: service.clone(), backend: backend.name.clone() });
    }
    sheet.backends(service)?;
    let edited = splice(text, sheet.paste_backend(service, backend)?);
    check(text, edited, format!("the backends of service {service}"), |service_table| {
        let backends = backends_of(service_table, service)?;
        backends.push(toml::Value::Table(render::backend(backend).parse().ok()?));
        Some(())
    })
}

/// Takes a backend out of its service.
pub fn remove_backend(text: &str, service: &ServiceName, backend: &BackendName) -> Result<String, EditError> {
    let sheet = Sheet::read(text)?;
    let position = sheet.position(service, backend)?;
    let what = format!("backend {backend} of service {service}");
    let place =
        sheet.cut_backend(service, position).ok_or_else(|| EditError::Unfamiliar { what: what.clone() })?;
    let edited = splice(text, vec![Splice { place, text: String::new() }]);
    check(text, edited, what, |services| {
        backends_of(services, service)?.remove(position);
        Some(())
    })
}

/// Sets the weight, the state and the limit of a backend, those that are given.
pub fn set_backend(
    text: &str,
    service: &ServiceName,
    backend: &BackendName,
    weight: Option<Weight>,
    state: Option<AdminState>,
    max_flows: Option<u32>,
) -> Result<String, EditError> {
    let position = Sheet::read(text)?.position(service, backend)?;
    let weight = weight.map(|weight| ("weight", toml_edit::Value::from(i64::from(weight.get()))));
    let state = state.map(|state| ("state", toml_edit::Value::from(state.as_str())));
    let mut edited = text.to_owned();
    let max_flows = max_flows.map(|flows| ("max_flows", toml_edit::Value::from(i64::from(flows))));
    for (key, value) in weight.into_iter().chain(state).chain(max_flows) {
        let what = format!("backend {backend} of service {service}");
        let sheet = Sheet::read(&edited)?;
        let change = sheet
            .set_in_backend(service, position, key, value.to_string().trim())
            .ok_or_else(|| EditError::Unfamiliar { what: what.clone() })?;
        let changed = splice(&edited, vec![change]);
        edited = check(&edited, changed, what, |services| {
            let table = backends_of(services, service)?.get_mut(position)?.as_table_mut()?;
            let line: toml::Table = format!("{key} = {value}").parse().ok()?;
            table.extend(line);
            Some(())
        })?;
    }
    Ok(edited)
}

/// Adds a service, with its health check and its backends, at the end of the file.
pub fn add_service(text: &str, service: &Service) -> Result<String, EditError> {
    let sheet = Sheet::read(text)?;
    if sheet.service(&service.name).is_ok() {
        return Err(EditError::ServiceExists { service: service.name.clone() });
    }
    let newline = sheet.newline();
    let mut edited = text.to_owned();
    if !edited.is_empty() && !edited.ends_with('\n') {
        edited.push_str(newline);
    }
    if !edited.trim().is_empty() {
        edited.push_str(newline);
    }
    let added = render::service(service);
    edited.push_str(&added.replace('\n', newline));
    check(text, edited, format!("service {}", service.name), |services| {
        let added: toml::Table = added.parse().ok()?;
        services.extend(added.get("service")?.as_table()?.clone());
        Some(())
    })
}

/// New settings of a service, those that are given.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServiceSettings {
    /// How it picks a backend.
    pub scheduler: Option<SchedulerKind>,
    /// How many flows it may have.
    pub max_flows: Option<u32>,
    /// What becomes of new flows at a limit.
    pub at_limit: Option<AtLimit>,
}

/// Changes a service's settings.
pub fn set_service(
    text: &str,
    service: &ServiceName,
    settings: ServiceSettings,
) -> Result<String, EditError> {
    Sheet::read(text)?.service(service)?;
    let scheduler = settings.scheduler.map(|word| ("scheduler", toml_edit::Value::from(word.as_str())));
    let max_flows = settings.max_flows.map(|flows| ("max_flows", toml_edit::Value::from(i64::from(flows))));
    let at_limit = settings.at_limit.map(|word| ("at_limit", toml_edit::Value::from(word.as_str())));
    let mut edited = text.to_owned();
    for (key, value) in scheduler.into_iter().chain(max_flows).chain(at_limit) {
        let what = format!("service {service}");
        let sheet = Sheet::read(&edited)?;
        let change = sheet
            .set_in_service(service, key, value.to_string().trim())
            .ok_or_else(|| EditError::Unfamiliar { what: what.clone() })?;
        let changed = splice(&edited, vec![change]);
        edited = check(&edited, changed, what, |services| {
            let table = services.get_mut(service.as_str())?.as_table_mut()?;
            let line: toml::Table = format!("{key} = {value}").parse().ok()?;
            table.extend(line);
            Some(())
        })?;
    }
    Ok(edited)
}

/// Takes a service out, with its health check and its backends.
pub fn remove_service(text: &str, service: &ServiceName) -> Result<String, EditError> {
    Sheet::read(text)?.service(service)?;
    let mut edited = text.to_owned();
    // One piece at a time, because a service may be written in several places. Each turn makes the text
    // shorter, so this ends.
    while Sheet::read(&edited)?.service(service).is_ok() {
        let what = || EditError::Unfamiliar { what: format!("service {service}") };
        let place = Sheet::read(&edited)?.cut_service_piece(service).ok_or_else(what)?;
        if place.is_empty() {
            return Err(what());
        }
        edited.replace_range(place, "");
    }
    check(text, edited, format!("service {service}"), |services| services.remove(service.as_str()).map(drop))
}

/// Gives the edited text out if it says what the old one said, with its services changed by `change`, and nothing else.
fn check(
    old: &str,
    edited: String,
    what: String,
    change: impl FnOnce(&mut toml::Table) -> Option<()>,
) -> Result<String, EditError> {
    check_whole(old, edited, EditError::Unfamiliar { what }, |root| {
        let services = root.entry("service").or_insert_with(|| toml::Table::new().into());
        change(services.as_table_mut()?)
    })
}

/// The same for a change anywhere.
fn check_whole(
    old: &str,
    edited: String,
    otherwise: EditError,
    change: impl FnOnce(&mut toml::Table) -> Option<()>,
) -> Result<String, EditError> {
    let expected = old.parse::<toml::Table>().ok().and_then(|mut table| change(&mut table).map(|()| table));
    let found = edited.parse::<toml::Table>().ok();
    match (expected.map(without_empty), found.map(without_empty)) {
        (Some(expected), Some(found)) if expected == found => Ok(edited),
        _ => Err(otherwise),
    }
}

/// Takes out what may be written as empty or not written at all.
fn without_empty(mut table: toml::Table) -> toml::Table {
    let empty = |value: &toml::Value| value.as_array().is_some_and(Vec::is_empty);
    if let Some(services) = table.get_mut("service").and_then(toml::Value::as_table_mut) {
        for (_, service) in services.iter_mut() {
            if let Some(service) = service.as_table_mut() {
                service.retain(|key, value| key != "backend" || !empty(value));
            }
        }
        if services.is_empty() {
            table.remove("service");
        }
    }
    if let Some(firewall) = table.get_mut("firewall").and_then(toml::Value::as_table_mut) {
        firewall.retain(|key, value| key != "rule" || !empty(value));
        if firewall.is_empty() {
            table.remove("firewall");
        }
    }
    table
}

fn backends_of<'t>(services: &'t mut toml::Table, service: &ServiceName) -> Option<&'t mut Vec<toml::Value>> {
    let service = services.get_mut(service.as_str())?.as_table_mut()?;
    service.entry("backend").or_insert_with(|| toml::Value::Array(Vec::new())).as_array_mut()
}

#[cfg(test)]
mod tests;

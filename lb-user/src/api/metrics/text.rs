//! The format itself: each family once, with its help and type, then its samples.

use std::fmt::{Display, Write as _};

/// What answers in this format call themselves.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family's samples are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type {
    /// It only grows, until the agent or the maps are made anew.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// The answer as far as it is written.
#[derive(Default)]
pub(super) struct Text(String);

/// A family that is being written.
pub(super) struct Family<'a> {
    text: &'a mut Text,
    name: &'static str,
    head: Option<(&'static str, Type)>,
}

impl Text {
    /// Begins a family. One without samples is left out.
    pub(super) fn family(&mut self, name: &'static str, kind: Type, help: &'static str) -> Family<'_> {
        Family { text: self, name, head: Some((help, kind)) }
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    // Writing to a text cannot fail.
    fn write(&mut self, part: impl Display) {
        let _ = write!(self.0, "{part}");
    }
}

impl Family<'_> {
    /// One sample.
    pub(super) fn sample(&mut self, labels: &[(&str, &dyn Display)], value: impl Display) {
        let name = self.name;
        if let Some((help, kind)) = self.head.take() {
            let kind = match kind {
                Type::Counter => "counter",
                Type::Gauge => "gauge",
            };
            self.text.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        }
        self.text.write(name);
        for (position, (label, value)) in labels.iter().enumerate() {
            let before = if position == 0 { '{' } else { ',' };
            self.text.write(format_args!("{before}{label}=\"{}\"", escaped(&value.to_string())));
        }
        if !labels.is_empty() {
            self.text.write('}');
        }
        self.text.write(format_args!(" {value}\n"));
    }

    /// One sample that is 1 or 0.
    pub(super) fn flag(&mut self, labels: &[(&str, &dyn Display)], value: bool) {
        self.sample(labels, u8::from(value));
    }

    /// A sample for each state there is: 1 for the one that it is in.
    pub(super) fn states(&mut self, labels: &[(&str, &dyn Display)], label: &str, states: &[&str], is: &str) {
        for state in states {
            let all: Vec<(&str, &dyn Display)> =
                labels.iter().copied().chain([(label, state as &dyn Display)]).collect();
            self.flag(&all, *state == is);
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

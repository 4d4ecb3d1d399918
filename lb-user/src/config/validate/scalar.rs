//! Single values: names, words, numbers, durations, paths, interface names.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::Validator;
use crate::config::error::did_you_mean;
use crate::config::file::DurationText;
use crate::config::locate::{Complaint, Path};
use crate::model::{Mode, ModelError};

/// The longest name of an interface: the kernel's `IFNAMSIZ` less the final zero.
const INTERFACE_LEN_MAX: usize = 15;
/// Checks more often than this would load the backends more than their clients do.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
const INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);
/// The kernel wakes flows' ageing in steps far coarser than this.
const FLOW_TIMEOUT_MIN: Duration = Duration::from_millis(1);
const FLOW_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

impl Validator<'_> {
    /// A value of the model, from its text.
    pub(super) fn parsed<T: FromStr<Err = ModelError>>(&mut self, path: &Path, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => self.complain(path, complaint_of(&error)),
        }
    }

    /// A name that is the key at the end of the path.
    pub(super) fn parsed_key<T: FromStr<Err = ModelError>>(&mut self, path: &Path, key: &str) -> Option<T> {
        match key.parse() {
            Ok(name) => Some(name),
            Err(error) => self.complain_of_key(path, complaint_of(&error)),
        }
    }

    /// How a service forwards.
    pub(super) fn mode(&mut self, path: &Path, text: Option<&str>) -> Option<Mode> {
        text.map_or(Some(Mode::Nat), |text| self.parsed(path, text))
    }

    /// A whole number within limits.
    pub(super) fn whole<T: TryFrom<i64>>(
        &mut self,
        path: &Path,
        value: i64,
        limits: RangeInclusive<i64>,
        expected: &str,
    ) -> Option<T> {
        let found = limits.contains(&value).then(|| T::try_from(value).ok()).flatten();
        if found.is_none() {
            let size = if value < *limits.start() { "small" } else { "large" };
            return self.complain(path, Complaint::new(format!("{value} is too {size}")).expected(expected));
        }
        found
    }

    /// A port that can be reached.
    pub(super) fn port(&mut self, path: &Path, value: i64) -> Option<u16> {
        self.whole(path, value, 1..=65535, "a port from 1 to 65535")
    }

    /// How long after one check the next begins.
    pub(super) fn interval(
        &mut self,
        path: &Path,
        text: Option<&DurationText>,
        default: Duration,
    ) -> Option<Duration> {
        self.duration(path, text, default, INTERVAL_MIN..=INTERVAL_MAX)
    }

    /// A duration that may be zero.
    pub(super) fn span_of_time(&mut self, path: &Path, text: Option<&DurationText>) -> Option<Duration> {
        self.duration(path, text, Duration::ZERO, Duration::ZERO..=INTERVAL_MAX)
    }

    /// How long a check may take.
    pub(super) fn check_timeout(
        &mut self,
        path: &Path,
        text: Option<&DurationText>,
        default: Duration,
    ) -> Option<Duration> {
        self.duration(path, text, default, Duration::from_millis(1)..=INTERVAL_MAX)
    }

    /// After which silence a flow is forgotten.
    pub(super) fn flow_timeout(
        &mut self,
        path: &Path,
        text: Option<&DurationText>,
        default: Duration,
    ) -> Option<Duration> {
        self.duration(path, text, default, FLOW_TIMEOUT_MIN..=FLOW_TIMEOUT_MAX)
    }

    pub(super) fn duration(
        &mut self,
        path: &Path,
        text: Option<&DurationText>,
        default: Duration,
        limits: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let Some(DurationText(text)) = text else { return Some(default) };
        // The library wants a unit even for nothing at all.
        let parsed = if text == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(text) };
        let Ok(duration) = parsed else {
            let no_unit = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let wrong = if no_unit { "has no unit" } else { "is not a duration" };
            let suggestion = no_unit.then(|| format!("did you mean \"{text}s\"?"));
            let complaint = Complaint::new(format!("{text:?} {wrong}"));
            return self.complain(
                path,
                complaint.expected("a duration such as \"500ms\" or \"2s\"").suggest(suggestion),
            );
        };
        if !limits.contains(&duration) {
            let size = if duration < *limits.start() { "short" } else { "long" };
            let time = humantime::format_duration;
            let expected = format!("a duration from {} to {}", time(*limits.start()), time(*limits.end()));
            return self.complain(path, Complaint::new(format!("{text:?} is too {size}")).expected(expected));
        }
        Some(duration)
    }

    /// A path from the root of the file system.
    pub(super) fn absolute(&mut self, path: &Path, text: &str, example: &str) -> Option<PathBuf> {
        if !text.starts_with('/') || text.contains('\0') {
            let wrong = format!("{text:?} does not begin with '/'");
            return self
                .complain(path, Complaint::new(wrong).expected(format!("a whole path such as {example:?}")));
        }
        Some(PathBuf::from(text))
    }

    /// The name of a network interface, by the kernel's rule.
    pub(super) fn interface(&mut self, path: &Path, name: &str) -> Option<String> {
        let wrong = if name.is_empty() {
            "is empty"
        } else if name.len() > INTERFACE_LEN_MAX {
            "is too long for an interface"
        } else if name == "."
            || name == ".."
            || name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
        {
            "is not the name of an interface"
        } else {
            return Some(name.to_owned());
        };
        let expected = "a name such as \"eth0\" of 1 to 15 characters";
        self.complain(path, Complaint::new(format!("{name:?} {wrong}")).expected(expected))
    }
}

/// Splits an error of the model into what is wrong and what was expected.
fn complaint_of(error: &ModelError) -> Complaint {
    match error {
        ModelError::Word { what, given, expected } => {
            let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
            Complaint::new(format!("{given:?} is not {article} {what}"))
                .expected(format!("one of {}", expected.join(", ")))
                .suggest(did_you_mean(given, expected.iter().copied()))
        }
        ModelError::PortRange { given } => Complaint::new(format!("{given:?} is not a range of ports"))
            .expected("FIRST-LAST such as \"2048-32767\", the first not above the last"),
        ModelError::Name { .. }
        | ModelError::Weight { .. }
        | ModelError::Prefix { .. }
        | ModelError::LogFilter(_) => Complaint::new(error.to_string()),
    }
}

//! `[track.NAME]` and `[notify]`: one thing to watch each, and commands that can be found.

use super::Validator;
use crate::config::error::did_you_mean;
use crate::config::file::{FileNotify, FileTracker, FileVrrp, OneOrMany};
use crate::config::locate::{Complaint, Path};
use crate::config::{Notify, Service, TrackedCommand, Tracker, Vip};
use crate::model::{ServiceName, TrackerName, VipName};
use std::collections::BTreeMap;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(2);
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(1);
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
const COUNTS: std::ops::RangeInclusive<i64> = 1..=100;

impl Validator<'_> {
    /// All trackers that are right.
    pub(super) fn trackers(
        &mut self,
        file: &BTreeMap<String, FileTracker>,
        services: &BTreeMap<ServiceName, Service>,
    ) -> BTreeMap<TrackerName, Tracker> {
        let mut trackers = BTreeMap::new();
        for (key, file) in self.in_file_order("track", file) {
            let path = Path::of(&["track", key]);
            let name = self.parsed_key::<TrackerName>(&path, key);
            let tracker = self.tracker(&path, file, services);
            if let (Some(name), Some(tracker)) = (name, tracker) {
                trackers.insert(name, tracker);
            }
        }
        trackers
    }

    fn tracker(
        &mut self,
        path: &Path,
        file: &FileTracker,
        services: &BTreeMap<ServiceName, Service>,
    ) -> Option<Tracker> {
        let FileTracker { interface, service, at_least, dataplane, command, .. } = file;
        let of_commands =
            file.interval.is_some() || file.timeout.is_some() || file.rise.is_some() || file.fall.is_some();
        if at_least.is_some() && service.is_none() {
            return self.complain_of_key(
                &path.key("at_least"),
                Complaint::new("counts backends, so it needs a service"),
            );
        }
        if of_commands && command.is_none() {
            let complaint = Complaint::new("interval, timeout, rise and fall are about a command");
            return self.complain(path, complaint.expected("a command, or none of them"));
        }
        match (interface, service, dataplane, command) {
            (Some(name), None, None, None) => {
                self.interface(&path.key("interface"), name).map(Tracker::Interface)
            }
            (None, Some(name), None, None) => self.tracked_service(path, name, *at_least, services),
            (None, None, Some(true), None) => Some(Tracker::Dataplane),
            (None, None, None, Some(command)) => self.tracked_command(path, command, file),
            _ => self.complain(
                path,
                Complaint::new("it watches nothing, or more than one thing")
                    .expected("one of interface, service, dataplane = true, command"),
            ),
        }
    }

    fn tracked_service(
        &mut self,
        path: &Path,
        name: &str,
        at_least: Option<i64>,
        services: &BTreeMap<ServiceName, Service>,
    ) -> Option<Tracker> {
        let expected = "a whole number from 1 to 65535";
        let at_least = self.whole::<u32>(&path.key("at_least"), at_least.unwrap_or(1), 1..=65_535, expected);
        let Some((name, _)) = services.get_key_value(name) else {
            let known = services.keys().map(ServiceName::as_str);
            let complaint = Complaint::new(format!("there is no service {name:?}"));
            return self.complain(&path.key("service"), complaint.suggest(did_you_mean(name, known)));
        };
        Some(Tracker::Service { name: name.clone(), at_least: at_least? })
    }

    fn tracked_command(
        &mut self,
        path: &Path,
        command: &OneOrMany<String>,
        file: &FileTracker,
    ) -> Option<Tracker> {
        let words = self.command(&path.key("command"), command);
        let limits = INTERVAL_MIN..=TIMEOUT_MAX;
        let interval = self.duration(&path.key("interval"), file.interval.as_ref(), INTERVAL, limits);
        let timeout = self.check_timeout(&path.key("timeout"), file.timeout.as_ref(), TIMEOUT);
        let expected = "a whole number from 1 to 100";
        let rise = self.whole::<u32>(&path.key("rise"), file.rise.unwrap_or(1), COUNTS, expected);
        let fall = self.whole::<u32>(&path.key("fall"), file.fall.unwrap_or(1), COUNTS, expected);
        Some(Tracker::Command(TrackedCommand {
            words: words?,
            interval: interval?,
            timeout: timeout?,
            rise: rise?,
            fall: fall?,
        }))
    }

    /// A program by its whole path, with arguments: what runs as root is not looked for in a search path.
    fn command(&mut self, path: &Path, file: &OneOrMany<String>) -> Option<Vec<String>> {
        let entries = file.entries(path);
        let Some((program_path, program)) = entries.first() else {
            let expected = "a program and its arguments such as [\"/usr/local/bin/check\", \"--fast\"]";
            return self.complain(path, Complaint::new("the list is empty").expected(expected));
        };
        self.absolute(program_path, program, "/usr/local/bin/check")?;
        Some(entries.into_iter().map(|(_, word)| word.clone()).collect())
    }

    pub(super) fn notify(&mut self, file: &FileNotify) -> Option<Notify> {
        let path = Path::of(&["notify"]);
        let words = match &file.command {
            Some(command) => self.command(&path.key("command"), command),
            None => self.missing(&path.key("command"), "a program by its whole path, and its arguments"),
        };
        let limits = Duration::from_millis(1)..=TIMEOUT_MAX;
        let timeout = self.duration(&path.key("timeout"), file.timeout.as_ref(), NOTIFY_TIMEOUT, limits);
        Some(Notify { words: words?, timeout: timeout? })
    }

    /// What a virtual router's priority hangs on, and how much of it.
    pub(super) fn tracked(&mut self, path: &Path, file: &FileVrrp) -> Option<BTreeMap<TrackerName, u8>> {
        let mut tracked = Some(BTreeMap::new());
        for (key, lowers_by) in &file.track {
            let path = path.key("track").key(key);
            let name = self.parsed_key::<TrackerName>(&path, key);
            let expected = "a whole number from 1 to 254, taken off the priority while it is down";
            let lowers_by = self.whole::<u8>(&path, *lowers_by, 1..=254, expected);
            match (&mut tracked, name, lowers_by) {
                (Some(tracked), Some(name), Some(lowers_by)) => drop(tracked.insert(name, lowers_by)),
                _ => tracked = None,
            }
        }
        tracked
    }

    /// What virtual routers hang on must be there.
    pub(super) fn tracked_are_there(
        &mut self,
        vips: &BTreeMap<VipName, Vip>,
        trackers: &BTreeMap<TrackerName, Tracker>,
    ) {
        for (vip, tracked) in vips.iter().filter_map(|(name, vip)| Some((name, &vip.vrrp.as_ref()?.track))) {
            for name in tracked.keys().filter(|name| !trackers.contains_key(*name)) {
                let path = Path::of(&["vip", vip.as_str(), "vrrp", "track", name.as_str()]);
                let known = trackers.keys().map(TrackerName::as_str);
                let suggestion = did_you_mean(name.as_str(), known)
                    .or_else(|| Some(format!("add a table [track.{name}]")));
                let complaint = Complaint::new(format!("there is no tracker {name}")).suggest(suggestion);
                self.complain_of_key::<()>(&path, complaint);
            }
        }
    }
}

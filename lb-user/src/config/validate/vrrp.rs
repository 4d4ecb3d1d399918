//! `[vip.NAME.vrrp]`: the numbers of VRRP and what they may be.

use super::Validator;
use crate::config::Vrrp;
use crate::config::file::FileVrrp;
use crate::config::locate::{Complaint, Path};
use crate::model::{AdvertInterval, ChecksumForm, GroupName, Priority, VirtualRouterId};
use std::time::Duration;

/// The priority of the node that a VIP is `active_on`, and of the others, when the file does not say.
const PREFERRED: i64 = 200;
const OTHER: i64 = 100;
const INTERVAL: Duration = Duration::from_secs(1);
/// A node that comes and goes costs a moment each time: five times a minute is a fault of its own.
const FLAP_LIMIT: i64 = 5;
const FLAP_WINDOW: Duration = Duration::from_secs(60);
const FLAP_WINDOW_MAX: Duration = Duration::from_secs(86_400);
const PREEMPT_DELAY_MAX: Duration = Duration::from_secs(1000);

impl Validator<'_> {
    /// The virtual router of a VIP; `prefers` says whether the VIP is `active_on` this node.
    pub(super) fn vrrp(&mut self, path: &Path, file: &FileVrrp, prefers: bool) -> Option<Vrrp> {
        let id = match file.id {
            Some(id) => {
                let expected = "a whole number from 1 to 255";
                let number = self.whole::<u8>(&path.key("id"), id, 1..=255, expected);
                number.and_then(VirtualRouterId::new)
            }
            None => self.missing(&path.key("id"), "the virtual router's id, 1 to 255, the same on all nodes"),
        };
        let priority = file.priority.unwrap_or(if prefers { PREFERRED } else { OTHER });
        let expected = "a whole number from 1 to 254, or 255 for the owner of the addresses";
        let priority = self.whole::<u8>(&path.key("priority"), priority, 1..=255, expected);
        let interval = self.advert_interval(&path.key("interval"), file);
        let preempt_delay = self.duration(
            &path.key("preempt_delay"),
            file.preempt_delay.as_ref(),
            Duration::ZERO,
            Duration::ZERO..=PREEMPT_DELAY_MAX,
        );
        let mut peers = Some(Vec::new());
        if let Some(texts) = &file.peers {
            for (path, text) in texts.entries(&path.key("peers")) {
                match (self.address(&path, text), &mut peers) {
                    (Some(address), Some(peers)) => peers.push(address),
                    _ => peers = None,
                }
            }
        }
        let checksum = match &file.checksum {
            Some(word) => self.parsed(&path.key("checksum"), word),
            None => Some(ChecksumForm::PseudoHeader),
        };
        let group = match &file.group {
            Some(name) => self.parsed::<GroupName>(&path.key("group"), name).map(Some),
            None => Some(None),
        };
        let expected = "a whole number from 1 to 1000, or 0 for no limit";
        let flap_limit = self.whole::<u32>(
            &path.key("flap_limit"),
            file.flap_limit.unwrap_or(FLAP_LIMIT),
            0..=1000,
            expected,
        );
        let limits = Duration::from_secs(1)..=FLAP_WINDOW_MAX;
        let flap_window =
            self.duration(&path.key("flap_window"), file.flap_window.as_ref(), FLAP_WINDOW, limits);
        let accept = self.accepts(path, file, priority);
        let track = self.tracked(path, file);
        Some(Vrrp {
            id: id?,
            priority: priority.and_then(Priority::new)?,
            interval: interval?,
            preempt: file.preempt.unwrap_or(true),
            preempt_delay: preempt_delay?,
            peers: peers?,
            checksum: checksum?,
            group: group?,
            flap_limit: flap_limit?,
            flap_window: flap_window?,
            accept: accept?,
            track: track?,
        })
    }

    /// RFC 9568 §6.1: the owner's addresses are its host's in any case.
    fn accepts(&mut self, path: &Path, file: &FileVrrp, priority: Option<u8>) -> Option<bool> {
        let accept = file.accept.unwrap_or(true);
        if accept || priority != Some(u8::MAX) {
            return Some(accept);
        }
        let complaint = Complaint::new("priority 255 says that the addresses are this host's own");
        self.complain(&path.key("accept"), complaint.expected("another priority, or true"))
    }

    fn advert_interval(&mut self, path: &Path, file: &FileVrrp) -> Option<AdvertInterval> {
        let limits = Duration::from_millis(10)..=Duration::from_millis(40_950);
        let interval = self.duration(path, file.interval.as_ref(), INTERVAL, limits)?;
        match AdvertInterval::from_duration(interval) {
            Some(interval) => Some(interval),
            None => {
                let complaint = Complaint::new("advertisements count hundredths of a second");
                self.complain(path, complaint.expected("a whole number of them, such as \"10ms\" or \"1s\""))
            }
        }
    }
}

//! What is shared and what is kept on the disk are the same: what is missing or damaged there is written again, and what cannot be
//! written is tried again for as long as it takes.

use super::{Issuing, wanted};
use crate::agent::certificates::now;
use crate::agent::state::Agent;
use crate::api::EventKind;
use crate::config::{Acme, Config};
use crate::core::acme::{Asked, Item};
use crate::io::acme::kept;
use crate::io::tls::{Stamps, first_certificate, issued};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is looked for files that nobody needs.
const FORGET_EVERY: Duration = Duration::from_secs(86_400);

impl Issuing {
    /// Whether it is known, and its file what it was when that held it.
    fn is_kept(&self, item: &Item, file: &Path) -> bool {
        self.shared.get(item).is_some() && self.kept.get(file) == Some(&Stamps::of([file]))
    }

    /// A file holds what is shared.
    fn note_kept(&mut self, file: PathBuf) {
        let stamps = Stamps::of([file.as_path()]);
        self.kept.insert(file, stamps);
    }
}

impl Agent {
    fn follow_account_file(&mut self, acme: &Acme, file: PathBuf) {
        let item = Item::Account(acme.directory.clone());
        if self.issuing.is_kept(&item, &file) {
            return;
        }
        if let Some((made, account)) = kept::account(acme)
            && self.issuing.dead_account.as_ref() != Some(&account)
        {
            self.issuing.shared.put(item, made, account);
        }
        if self.keep_account(acme) {
            self.issuing.note_kept(file);
        }
    }

    /// Compares what is kept with what is shared: the later one goes to where the other is.
    pub(super) fn keep_files(&mut self, acme: &Acme, wanted: &BTreeMap<Asked, PathBuf>) {
        let account = kept::account_file(acme);
        self.issuing.unwritten.retain(|file, _| *file == account || wanted.values().any(|one| one == file));
        self.follow_account_file(acme, account);
        for (asked, file) in wanted {
            let item = Item::Certificate(asked.clone());
            if self.issuing.is_kept(&item, file) {
                continue;
            }
            // As it was before it is read: what is written meanwhile counts as changed.
            let stamps = Stamps::of([file.as_path()]);
            let there = kept::certificate(file);
            if let Some(text) = &there
                && let Some(facts) = issued(text.as_bytes(), &asked.names)
            {
                self.issuing.shared.put(item.clone(), facts.not_before, text.clone());
            }
            let known = self.issuing.shared.get(&item);
            if known.is_some() && known != there.as_deref() {
                self.write_certificate(asked, "is kept again");
            } else {
                self.issuing.unwritten.remove(file);
                self.issuing.kept.insert(file.clone(), stamps);
            }
        }
    }

    /// Files of names and authorities that are wanted no more stay as long as they may stand in for others.
    pub(super) fn forget_files(&mut self, acme: &Acme, wanted: &BTreeMap<Asked, PathBuf>) {
        let at = Instant::now();
        if self.issuing.forget_at.is_some_and(|due| at < due) {
            return;
        }
        self.issuing.forget_at = Some(at + FORGET_EVERY);
        let wanted = wanted.values().cloned().collect();
        let has_expired =
            |pem: &str| first_certificate(pem.as_bytes()).is_some_and(|facts| facts.not_after < now());
        for file in kept::forget_expired(&acme.folder, &wanted, has_expired) {
            let message = format!("acme: {} has expired and was for nobody: removed", file.display());
            self.journal.record(EventKind::ConfigChanged, message);
        }
    }

    /// Files of a new configuration are there before it is in force, as far as their content is known.
    pub(in crate::agent) fn keep_files_for(&mut self, config: &Config) {
        for (asked, file) in wanted(config) {
            if let Some(pem) = self.issuing.shared.get(&Item::Certificate(asked))
                && kept::certificate(&file).is_none()
            {
                // It is tried again, and told of, when the configuration is in force.
                let _ = kept::keep(&file, pem);
            }
        }
    }

    /// Whether there is one, and it is kept.
    pub(super) fn keep_account(&mut self, acme: &Acme) -> bool {
        let Some(account) = self.issuing.shared.get(&Item::Account(acme.directory.clone())) else {
            return false;
        };
        let written = kept::keep_account(acme, account);
        self.note_written(&kept::account_file(acme), written)
    }

    /// Whether it was; what was not is told once.
    fn note_written(&mut self, file: &Path, written: io::Result<()>) -> bool {
        let Err(error) = written else {
            self.issuing.unwritten.remove(file);
            return true;
        };
        // Whatever lies there, it is not what is shared.
        self.issuing.kept.remove(file);
        let why = error.to_string();
        if self.issuing.unwritten.get(file) != Some(&why) {
            let message = format!("acme: {}: cannot be kept: {why}; tried again", file.display());
            self.journal.record(EventKind::Warning, message);
            self.issuing.unwritten.insert(file.to_owned(), why);
        }
        false
    }

    /// Writes a certificate that is shared to its file, and reads it from there.
    pub(super) fn write_certificate(&mut self, asked: &Asked, how: &str) {
        let Some(file) = wanted(&self.config).remove(asked) else { return };
        let Some(pem) = self.issuing.shared.get(&Item::Certificate(asked.clone())) else { return };
        let written = kept::keep(&file, pem);
        if self.note_written(&file, written) {
            self.issuing.note_kept(file.clone());
            let message = format!("acme: the certificate for {asked} {how}");
            self.journal.record(EventKind::ConfigChanged, message);
            self.read_certificates_in(&file);
        }
    }
}

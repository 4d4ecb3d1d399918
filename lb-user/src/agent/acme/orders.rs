//! Orders: when one begins, what happens to it, and when it is tried again.

use super::wanted;
use crate::agent::certificates::now;
use crate::agent::state::Agent;
use crate::api::EventKind;
use crate::config::Acme;
use crate::core::acme::{Asked, Item, again_after, renewal};
use crate::core::certificate::CertificateFacts;
use crate::io::acme::{OrderEvent, order};
use crate::io::tls::first_certificate;
use std::time::Instant;
use tokio::task::AbortHandle;

/// The order of one certificate. Dropped, it is given up.
#[derive(Default)]
pub(super) struct Ordering {
    /// It is under way.
    task: Option<AbortHandle>,
    failures: u32,
    /// Not before.
    again: Option<Instant>,
    why: Option<String>,
}

impl Drop for Ordering {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Ordering {
    /// Why the last one failed.
    pub(super) fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    pub(super) fn try_at_once(&mut self) {
        (self.failures, self.again) = (0, None);
    }

    fn rests(&self) -> bool {
        self.is_under_way() || self.again.is_some_and(|again| again > Instant::now())
    }

    fn is_under_way(&self) -> bool {
        self.task.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// It came to nothing; what is said of it.
    fn fail(&mut self, asked: &Asked, why: String) -> String {
        self.task = None;
        self.failures = self.failures.saturating_add(1);
        let rest = again_after(self.failures);
        self.again = Some(Instant::now() + rest);
        let rest = humantime::format_duration(rest);
        let said = format!("acme: no certificate for {asked}: {why}; asked for again in {rest}");
        self.why = Some(why);
        said
    }
}

/// Whether it is not to be renewed yet.
fn is_in_time(facts: &CertificateFacts) -> bool {
    renewal(facts.not_before, facts.not_after) > now()
}

impl Agent {
    /// The certificates that should be asked for now.
    fn due(&self) -> Vec<Asked> {
        let is_due = |asked: &Asked| {
            let rests = self.issuing.orders.get(asked).is_some_and(Ordering::rests);
            let known = self.issuing.shared.get(&Item::Certificate(asked.clone()));
            let known = known.and_then(|text| first_certificate(text.as_bytes()));
            !rests && known.is_none_or(|facts| !is_in_time(&facts))
        };
        self.wanted_here().into_iter().filter(is_due).collect()
    }

    pub(super) fn order_what_is_due(&mut self, acme: &Acme) {
        let due = self.due();
        // Whatever failed before, the certificate has come another way.
        let known = |asked: &Asked| self.issuing.shared.get(&Item::Certificate(asked.clone()));
        let is_settled = |asked: &Asked, one: &Ordering| {
            let is_good =
                |text: &str| first_certificate(text.as_bytes()).is_some_and(|facts| is_in_time(&facts));
            !one.is_under_way() && known(asked).is_some_and(is_good)
        };
        let orders = self.issuing.orders.iter();
        let settled = orders.filter(|(asked, one)| is_settled(asked, one)).map(|(asked, _)| asked.clone());
        let settled: Vec<Asked> = settled.collect();
        settled.iter().for_each(|asked| drop(self.issuing.orders.remove(asked)));
        for asked in due {
            let message = format!("acme: {} is asked for a certificate for {asked}", acme.directory);
            self.journal.record(EventKind::ConfigChanged, message);
            let account = self.issuing.shared.get(&Item::Account(acme.directory.clone()));
            let account = account.filter(|text| self.issuing.dead_account.as_deref() != Some(text));
            let ordering = order(
                acme.clone(),
                account.map(str::to_owned),
                asked.clone(),
                self.issuing.to_orders.clone(),
            );
            let task = tokio::spawn(ordering).abort_handle();
            self.issuing.orders.entry(asked).or_default().task = Some(task);
        }
    }

    pub(super) fn handle_order(&mut self, asked: Asked, event: OrderEvent) {
        // What was begun under other terms is nobody's any more.
        let acme = self.config.acme.clone().filter(|acme| acme.directory == asked.directory);
        let Some(acme) = acme.filter(|_| wanted(&self.config).contains_key(&asked)) else { return };
        match event {
            OrderEvent::AccountMade(account) => {
                self.issuing.shared.put(Item::Account(acme.directory.clone()), now(), account);
                self.keep_account(&acme);
                self.tell_peers(None);
            }
            OrderEvent::Challenged(challenges, can_answer) => {
                for challenge in &challenges {
                    self.issuing.shared.put_challenge(challenge, now());
                }
                self.follow_challenges();
                self.tell_peers(Some(can_answer));
            }
            OrderEvent::Issued(pem) => self.take_issued(asked, pem),
            OrderEvent::Failed { why, dead_account } => {
                if dead_account.is_some() {
                    self.issuing.dead_account = dead_account;
                }
                self.fail_order(&asked, why);
            }
        }
    }

    fn fail_order(&mut self, asked: &Asked, why: String) {
        let said = self.issuing.orders.entry(asked.clone()).or_default().fail(asked, why);
        self.journal.record(EventKind::Warning, said);
    }

    fn take_issued(&mut self, asked: Asked, pem: String) {
        let facts = first_certificate(pem.as_bytes());
        let made = facts.map_or_else(now, |facts| facts.not_before);
        if self.issuing.shared.put(Item::Certificate(asked.clone()), made, pem) {
            self.write_certificate(&asked, "has been issued");
            self.tell_peers(None);
        }
        // Another one may have been there that is later.
        let known = self.issuing.shared.get(&Item::Certificate(asked.clone()));
        let known = known.and_then(|text| first_certificate(text.as_bytes()));
        if known.is_none_or(|facts| !is_in_time(&facts)) {
            let why = "the one that was given out has to be renewed at once: is the clock right?";
            self.fail_order(&asked, why.to_owned());
        } else {
            self.issuing.orders.remove(&asked);
        }
    }
}

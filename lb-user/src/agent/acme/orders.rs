//! Orders: when one begins, what happens to it, and when it is tried again.

use super::{Issuing, wanted};
use crate::agent::certificates::now;
use crate::agent::state::Agent;
use crate::api::EventKind;
use crate::config::Acme;
use crate::core::acme::{Asked, Item, again_after, renewal};
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

impl Issuing {
    /// Whether that certificate is known, and not to be renewed yet.
    fn is_settled(&self, asked: &Asked) -> bool {
        let known = self.shared.get(&Item::Certificate(asked.clone()));
        let facts = known.and_then(|text| first_certificate(text.as_bytes()));
        facts.is_some_and(|facts| renewal(facts.not_before, facts.not_after) > now())
    }
}

impl Agent {
    /// Asks for the certificates that should be asked for now.
    pub(super) fn order_what_is_due(&mut self, acme: &Acme) {
        let issuing = &mut self.issuing;
        // Whatever failed before, the certificate has come another way.
        let is_over = |(asked, one): &(&Asked, &Ordering)| !one.is_under_way() && issuing.is_settled(asked);
        let over: Vec<Asked> =
            issuing.orders.iter().filter(is_over).map(|(asked, _)| asked.clone()).collect();
        over.iter().for_each(|asked| drop(issuing.orders.remove(asked)));
        for asked in self.wanted_here() {
            let rests = self.issuing.orders.get(&asked).is_some_and(Ordering::rests);
            if rests || self.issuing.is_settled(&asked) {
                continue;
            }
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
                // What fails is tried again, and told of.
                let _ = self.keep_account(&acme);
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
        if self.issuing.is_settled(&asked) {
            self.issuing.orders.remove(&asked);
        } else {
            let why = "the one that was given out has to be renewed at once: is the clock right?";
            self.fail_order(&asked, why.to_owned());
        }
    }
}

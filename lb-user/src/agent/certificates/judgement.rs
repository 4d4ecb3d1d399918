//! Whether certificates are good at this time, and what is said of those that are not, or not for long.
//!
//! Never reads a file.

use super::{Held, now};
use crate::api::CertificateView;
use crate::config::TlsTerms;
use crate::io::tls::{self, Server};
use crate::model::ServiceName;
use std::time::Duration;

/// Who has that little time left is warned of; of one that an authority is asked for, a quarter of its time where that is less.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);

/// The certificates that no authority has given out yet, in words.
pub(super) fn missing(name: &ServiceName, held: &Held) -> impl Iterator<Item = String> {
    let there = held.server.as_ref().map_or(&[][..], |server| &server.certificates);
    let wanted = held.tls.iter().flat_map(TlsTerms::asked_for);
    wanted.filter(|files| !there.iter().any(|one| one.file == files.file)).map(move |files| {
        let has_name = |one: &&tls::Certificate| one.facts.names.iter().any(|name| files.acme.contains(name));
        let meanwhile = match there.iter().find(|one| one.is_asked_for && has_name(one)) {
            Some(one) => format!("{} is shown meanwhile", one.file.display()),
            None => "clients that ask for them are refused".to_owned(),
        };
        format!("service {name}: there is no certificate for {} yet; {meanwhile}", files.acme.join(", "))
    })
}

/// Why a certificate cannot be taken.
pub(super) struct NotGood {
    pub(super) why: String,
    /// When it can be, since 1970, if it only takes time.
    pub(super) until: Option<Duration>,
}

/// Why a certificate is not good at this time, if one is not that is not in force already: what else has changed is not to wait for it. Nor is it
/// for one that an authority is asked for: there will be another one.
pub(super) fn not_good_now(server: &Server, in_force: Option<&Server>) -> Option<NotGood> {
    let now = now();
    let is_in_force = |certificate: &tls::Certificate| {
        in_force.is_some_and(|server| server.certificates.iter().any(|known| known.is_same_as(certificate)))
    };
    let judged = server.certificates.iter().filter(|one| !one.is_asked_for && !is_in_force(one));
    judged.into_iter().find_map(|certificate| {
        let facts = &certificate.facts;
        let (why, until) = if facts.not_after < now {
            (ending(certificate, now)?, None)
        } else if facts.not_before > now {
            let until = facts.not_before - now;
            let why = format!("is not good yet, for {}", humantime::format_duration(until));
            (why, Some(facts.not_before))
        } else {
            return None;
        };
        Some(NotGood { why: format!("{}: the certificate {why}", certificate.file.display()), until })
    })
}

/// That a certificate expires soon or has expired, in words.
pub(super) fn ending(certificate: &tls::Certificate, now: Duration) -> Option<String> {
    let facts = &certificate.facts;
    // An authority that gives out short ones has another one by then.
    let quarter = facts.not_after.saturating_sub(facts.not_before) / 4;
    let soon = if certificate.is_asked_for { EXPIRES_SOON.min(quarter) } else { EXPIRES_SOON };
    let time = |time: Duration| humantime::format_duration(Duration::from_secs(time.as_secs() / 60 * 60));
    match facts.not_after.checked_sub(now) {
        None => Some(format!("expired {} ago", time(now - facts.not_after))),
        Some(left) if left < soon => Some(format!("expires in {}", time(left))),
        Some(_) => None,
    }
}

pub(super) fn certificate_view(certificate: &tls::Certificate) -> CertificateView {
    let facts = &certificate.facts;
    CertificateView {
        file: certificate.file.clone(),
        common_name: facts.common_name.clone(),
        names: facts.names.clone(),
        addresses: facts.addresses.clone(),
        not_before_unix_seconds: facts.not_before.as_secs(),
        not_after_unix_seconds: facts.not_after.as_secs(),
    }
}

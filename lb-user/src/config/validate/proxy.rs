//! `[service.NAME.proxy]`: times, numbers, and who may say whose connections theirs are.

use super::Validator;
use crate::config::ProxyTerms;
use crate::config::file::{DurationText, FileProxy};
use crate::config::locate::{Complaint, Path};
use crate::model::Mode;
use std::time::Duration;

const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 86_400);

impl Validator<'_> {
    /// The terms of a service whose connections end here; `None` inside is one of another mode.
    pub(super) fn proxy(
        &mut self,
        path: &Path,
        file: Option<&FileProxy>,
        mode: Mode,
    ) -> Option<Option<ProxyTerms>> {
        if !mode.is_served_by_agent() {
            let Some(_) = file else { return Some(None) };
            let wrong = format!("with mode \"{mode}\" connections do not end at this node");
            let suggestion = "set mode = \"tcp\", or leave the table out".to_owned();
            return self.complain_of_key(path, Complaint::new(wrong).suggest(Some(suggestion)));
        }
        let default = ProxyTerms::of(mode);
        let Some(file) = file else { return Some(Some(default)) };
        let mut time = |key: &str, text: Option<&DurationText>, default: Duration| {
            self.duration(&path.key(key), text, default, TIMEOUT_MIN..=TIMEOUT_MAX)
        };
        let connect_timeout = time("connect_timeout", file.connect_timeout.as_ref(), default.connect_timeout);
        let handshake_timeout =
            time("handshake_timeout", file.handshake_timeout.as_ref(), default.handshake_timeout);
        let queue_timeout = time("queue_timeout", file.queue_timeout.as_ref(), default.queue_timeout);
        let client_timeout = time("client_timeout", file.client_timeout.as_ref(), default.client_timeout);
        let backend_timeout = time("backend_timeout", file.backend_timeout.as_ref(), default.backend_timeout);
        let half_closed_timeout =
            time("half_closed_timeout", file.half_closed_timeout.as_ref(), default.half_closed_timeout);
        let expected = "a whole number from 0 to 100";
        let retries = self.whole(
            &path.key("retries"),
            file.retries.unwrap_or(default.retries.into()),
            0..=100,
            expected,
        );
        let expected = "a whole number from 0 (nobody waits) to 1000000";
        let max_queue = file.max_queue.unwrap_or(default.max_queue.into());
        let max_queue = self.whole(&path.key("max_queue"), max_queue, 0..=1_000_000, expected);
        let mut accept_proxy_from = Some(Vec::new());
        if let Some(texts) = &file.accept_proxy_from {
            for (path, text) in texts.entries(&path.key("accept_proxy_from")) {
                match (self.source_prefix(&path, text), &mut accept_proxy_from) {
                    (Some(prefix), Some(all)) => all.push(prefix),
                    _ => accept_proxy_from = None,
                }
            }
        }
        let send_proxy = match &file.send_proxy {
            Some(word) => self.parsed(&path.key("send_proxy"), word).map(Some),
            None => Some(None),
        };
        Some(Some(ProxyTerms {
            connect_timeout: connect_timeout?,
            handshake_timeout: handshake_timeout?,
            queue_timeout: queue_timeout?,
            client_timeout: client_timeout?,
            backend_timeout: backend_timeout?,
            half_closed_timeout: half_closed_timeout?,
            retries: retries?,
            max_queue: max_queue?,
            accept_proxy_from: accept_proxy_from?,
            send_proxy: send_proxy?,
            transparent: file.transparent.unwrap_or(default.transparent),
            connection_log: file.connection_log.unwrap_or(default.connection_log),
        }))
    }
}

//! The endpoint for those who collect figures: where the configuration wants one.

use super::state::Agent;
use crate::api::EventKind;
use crate::api::server::{Context, serve_metrics};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What serves it.
pub(super) struct MetricsEndpoint {
    context: Context,
    /// Where, while it is served.
    serving: Option<(SocketAddr, oneshot::Sender<()>)>,
    /// Why it is not, as it was last told.
    trouble: Option<(SocketAddr, String)>,
}

impl MetricsEndpoint {
    /// Nowhere yet.
    pub(super) fn new(context: Context) -> Self {
        Self { context, serving: None, trouble: None }
    }

    /// What is wrong, in words.
    pub(super) fn warning(&self) -> Option<String> {
        let (at, why) = self.trouble.as_ref()?;
        Some(format!("metrics.listen: nobody can collect figures at {at}: {why}"))
    }

    fn stop(&mut self) {
        // The end of this is heard there.
        drop(self.serving.take());
    }
}

impl Drop for MetricsEndpoint {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Agent {
    /// Serves figures where they are wanted, and tries again where that failed.
    pub(super) async fn follow_metrics(&mut self) {
        let wanted = self.config.metrics.map(|metrics| metrics.listen);
        if self.metrics.serving.as_ref().map(|(at, _)| *at) == wanted {
            self.metrics.trouble = None;
            return;
        }
        self.metrics.stop();
        let Some(at) = wanted else { return };
        match TcpListener::bind(at).await {
            Ok(listener) => {
                let (goes_on, ends) = oneshot::channel::<()>();
                let serving =
                    serve_metrics(listener, self.metrics.context.clone(), async { drop(ends.await) });
                tokio::spawn(serving);
                self.metrics.serving = Some((at, goes_on));
                self.metrics.trouble = None;
            }
            Err(error) => {
                let trouble = Some((at, error.to_string()));
                if self.metrics.trouble != trouble {
                    self.metrics.trouble = trouble;
                    self.metrics
                        .warning()
                        .into_iter()
                        .for_each(|words| self.journal.record(EventKind::Warning, words));
                }
            }
        }
    }
}

//! SIGINT, SIGTERM and SIGHUP as a request to stop that the lab looks at between its steps.
//!
//! Signals belong to the whole process, so this is process-wide state. Nothing happens until a
//! program calls [`install`]; a test run that does not keeps the default behaviour.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// From now on these signals do not end the process; they make [`requested`] true.
pub fn install() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the signal listener")?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _guard = runtime.enter();
        let listen = |kind| signal(kind).context("listening for signals");
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?)
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        _ = hangup.recv() => {}
                    }
                    REQUESTED.store(true, Ordering::Relaxed);
                }
            });
        })
        .context("starting the signal listener")?;
    Ok(())
}

/// Whether the process was asked to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// An error when the process was asked to stop.
pub fn check() -> Result<()> {
    if requested() {
        bail!("interrupted");
    }
    Ok(())
}

/// Waits for `period`, or less when asked to stop; says whether to go on.
pub fn pause(period: Duration) -> bool {
    let deadline = Instant::now() + period;
    super::poll::wait(period, || requested() || Instant::now() >= deadline);
    !requested()
}

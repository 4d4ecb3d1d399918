//! Waiting for things, always with a deadline. The only place of the lab that sleeps.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::interrupt;

const INTERVAL: Duration = Duration::from_millis(10);

/// An answer that no waiting will change, such as a server that has ended.
#[derive(Debug)]
pub struct Hopeless(pub String);

impl std::fmt::Display for Hopeless {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Hopeless {}

/// Asks `probe` until it returns `Ok`, or fails with what it last said. Gives up early when the answer
/// is [`Hopeless`] and when the process was asked to stop (see [`interrupt`]).
pub fn until<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let reason = match probe() {
            Ok(value) => return Ok(value),
            Err(reason) => reason,
        };
        interrupt::check()?;
        if reason.is::<Hopeless>() {
            return Err(reason);
        }
        if Instant::now() >= deadline {
            bail!("{what}: not within {:.1} s; last answer: {reason:#}", within.as_secs_f64());
        }
        std::thread::sleep(INTERVAL); // poll: this is the one place that waits
    }
}

/// Asks `probe` until it is true; says whether it became so in time. Cannot be interrupted: for
/// taking things down.
pub fn wait(within: Duration, mut probe: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    loop {
        if probe() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(INTERVAL); // poll: this is the one place that waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_missed_deadline_tells_the_last_reason() {
        let error =
            until("the door opens", Duration::ZERO, || Err::<(), _>(anyhow!("it is locked"))).unwrap_err();
        assert_eq!(error.to_string(), "the door opens: not within 0.0 s; last answer: it is locked");
    }

    #[test]
    fn a_hopeless_answer_ends_the_wait() {
        let never = Duration::from_secs(3600);
        let error =
            until("it works", never, || Err::<(), _>(Hopeless("it has ended".into()).into())).unwrap_err();
        assert_eq!(error.to_string(), "it has ended");
    }

    #[test]
    fn the_probe_is_asked_again_until_it_succeeds() {
        let mut asked = 0;
        let answer = until("three", Duration::from_secs(5), || {
            asked += 1;
            if asked == 3 { Ok(asked) } else { Err(anyhow!("not yet")) }
        });
        assert_eq!(answer.unwrap(), 3);
    }
}

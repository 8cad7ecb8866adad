//! The stages of a server's end. One place keeps the time; everybody else only watches.

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::config::DrainSettings;

/// Where the server is on its way out. Later stages compare greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Serving,
    /// Not ready any longer, but every request is served: load balancers need time to see it.
    Draining,
    /// No new connections; what is in flight may finish.
    Closing,
    /// What is still in flight is refused, and connections are cut.
    Cut,
}

/// Leads the server out: at the first signal it drains for `grace`, then closes for `timeout`, then
/// cuts. A second signal cuts at once. Returns when the stage is [`Stage::Cut`]; a caller whose
/// servers have finished before need not wait for that.
pub async fn conduct(
    stage: &watch::Sender<Stage>,
    drain: DrainSettings,
    mut signals: mpsc::Receiver<()>,
) {
    if signals.recv().await.is_none() {
        return std::future::pending().await;
    }
    stage.send_replace(Stage::Draining);
    for (wait, next) in [(drain.grace, Stage::Closing), (drain.timeout, Stage::Cut)] {
        tokio::select! {
            () = sleep(wait) => {}
            Some(()) = signals.recv() => break,
        }
        stage.send_replace(next);
    }
    stage.send_replace(Stage::Cut);
}

/// Waits until the stage is `wanted` or later; for ever when nobody leads any longer.
pub async fn reached(mut stage: watch::Receiver<Stage>, wanted: Stage) {
    if stage.wait_for(|&now| now >= wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    const DRAIN: DrainSettings =
        DrainSettings { grace: Duration::from_secs(5), timeout: Duration::from_secs(25) };

    /// Drives `conduct` beside a list of signals and notes when each stage came, in seconds.
    async fn stages(signals: &[u64]) -> Vec<(u64, Stage)> {
        let (stage, mut seen) = watch::channel(Stage::Serving);
        let (send, receive) = mpsc::channel(2);
        let start = Instant::now();
        let watching = async {
            let mut times = Vec::new();
            while times.last().is_none_or(|&(_, stage)| stage != Stage::Cut) {
                seen.changed().await.unwrap();
                times.push((start.elapsed().as_secs(), *seen.borrow_and_update()));
            }
            times
        };
        let signalling = async {
            for &at in signals {
                tokio::time::sleep_until(start + Duration::from_secs(at)).await;
                send.send(()).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            (times, ()) = async { tokio::join!(watching, conduct(&stage, DRAIN, receive)) } => times,
            () = signalling => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_signal_drains_closes_and_cuts() {
        let expected = [(1, Stage::Draining), (6, Stage::Closing), (31, Stage::Cut)];
        assert_eq!(stages(&[1]).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_cuts_at_once() {
        assert_eq!(stages(&[1, 3]).await, [(1, Stage::Draining), (3, Stage::Cut)]);
    }
}

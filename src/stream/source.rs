//! The source of a stream: a watcher of the service, read in bursts.

use std::ops::ControlFlow;

use crate::api::Client;
use crate::domain::record::Record;
use crate::events::{DrainResult, WatchError, WatchTarget, Watcher, WatcherOptions, WatcherStep};
use crate::stream::outcome::StreamOutcome;
use crate::stream::pipeline::Pipeline;

/// How many events are taken in a row before signals, deadlines and the writer are looked at again.
pub(super) const EVENTS_PER_BURST: u32 = 256;

/// What to watch, and how.
#[derive(Debug)]
pub struct SourceOptions {
    /// The client, with the credentials to watch with.
    pub client: Client,
    /// Whom to watch.
    pub target: WatchTarget,
    /// How to connect and subscribe. The stream itself sets `resume`.
    pub watcher: WatcherOptions,
}

/// What a burst ended with.
#[derive(Debug)]
pub(super) enum BurstEnd {
    /// The stream ends.
    StreamEnds(StreamOutcome),
    /// It is time to look at everything else, or the reader cannot keep up.
    Pause,
    /// All events that have arrived are processed.
    Drained,
    /// Something else than an event comes next: see [`Source::next`].
    NotAnEvent,
}

/// A connected source.
#[derive(Debug)]
pub(crate) struct Source {
    pub(super) watcher: Watcher,
}

impl Source {
    /// Connects.
    ///
    /// # Errors
    ///
    /// The service refuses, or cannot be reached.
    pub(crate) async fn connect(options: SourceOptions) -> Result<Self, WatchError> {
        let SourceOptions {
            client,
            target,
            watcher,
        } = options;
        let watcher = Watcher::start(client, target, watcher).await?;
        Ok(Self { watcher })
    }

    /// Sends the events that have already arrived through the pipeline, without waiting for any.
    pub(super) fn process_burst(&mut self, pipeline: &mut Pipeline<'_>) -> BurstEnd {
        let drained = self.drain_burst(|record| match pipeline.process(record) {
            ControlFlow::Break(outcome) => ControlFlow::Break(Some(outcome)),
            ControlFlow::Continue(()) if pipeline.is_crowded() => ControlFlow::Break(None),
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
        });
        match drained {
            DrainResult::Break(Some(outcome)) => BurstEnd::StreamEnds(outcome),
            DrainResult::Break(None) => BurstEnd::Pause,
            DrainResult::Empty => BurstEnd::Drained,
            DrainResult::Other => BurstEnd::NotAnEvent,
        }
    }

    /// Passes the events that have already arrived to `emit`, at most one burst of them, without waiting for any.
    pub(crate) fn take_burst(&mut self, mut emit: impl FnMut(&Record<'_>)) {
        let _ = self.drain_burst(|record| {
            emit(record);
            ControlFlow::Continue(())
        });
    }

    /// Passes the events that have already arrived to `process`, until it breaks or one burst is over. The end of the
    /// burst is a break with `None`.
    fn drain_burst(
        &mut self,
        mut process: impl FnMut(&Record<'_>) -> ControlFlow<Option<StreamOutcome>>,
    ) -> DrainResult<Option<StreamOutcome>> {
        let mut left = EVENTS_PER_BURST;
        self.watcher.drain_ready(|record| {
            process(record)?;
            left -= 1;
            if left == 0 {
                return ControlFlow::Break(None);
            }
            ControlFlow::Continue(())
        })
    }

    /// How many of the subscribing queries are answered, and how many there are.
    pub(crate) fn progress(&self) -> (usize, usize) {
        self.watcher.progress()
    }

    /// Closes the connection.
    pub(crate) async fn close(self) {
        self.watcher.close().await;
    }

    /// Waits for the next thing that happens. Cancel safe.
    ///
    /// # Errors
    ///
    /// The watch is over.
    pub(crate) async fn next(&mut self) -> Result<WatcherStep<'_>, WatchError> {
        self.watcher.step().await
    }
}

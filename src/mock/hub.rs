//! The hub: the only place that locks the state and hands its events to the connections.
//!
//! A change and the queueing of its events happen under one short lock, so that every connection receives events in the
//! order of the state. Nothing awaits under the lock, and readers are woken after it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::api_version::EventFrames;
use super::clock::Clock;
use super::engine::{
    Caller, ConnectRequest, ConnectionKey, Delivery, OperationRequest, Reply, ServiceState, Signal,
};
use super::error::Rejection;
use super::faults::{FaultInjector, FaultSpec};
use super::fixture::{Fixture, FixtureError};
use super::options::MockOptions;
use super::rate_limits::{RateLimitBucket, RateLimitStatus, RateLimiter};
use super::replay::TrafficReplay;
use super::scenario_runs::ScenarioRuns;
use super::send_queue::{
    CLOSE_ABNORMAL, CLOSE_NORMAL, CloseReason, PushOutcome, QueueLimits, SendQueue,
};
use super::traffic_log::{SocketIdentity, TrafficLog};
use crate::timer::sleep_until;

/// One running application of the mock service, shared by all its requests and sockets.
#[derive(Debug)]
pub(crate) struct Hub {
    inner: Mutex<HubState>,
    /// The clock of the mock.
    pub(crate) clock: Clock,
    /// The options of the mock.
    pub(crate) options: MockOptions,
    /// The rate limiter.
    pub(crate) rate_limiter: Mutex<RateLimiter>,
    /// The active faults.
    pub(crate) faults: FaultInjector,
    /// The replay, if requests are answered from a recording.
    pub(crate) replay: Option<TrafficReplay>,
    /// The traffic log.
    pub(crate) traffic_log: TrafficLog,
    /// The scenarios that run, or have run.
    pub(crate) scenario_runs: ScenarioRuns,
    /// Announces that the application ends.
    ending: Notify,
    /// Tells the timer task that there is an earlier deadline.
    rearm: Notify,
}

/// The queues of all connections.
type SendQueues = HashMap<ConnectionKey, Arc<SendQueue>, RandomState>;

/// Queues whose readers are woken after the lock is released.
type WokenQueues = Vec<Arc<SendQueue>>;

#[derive(Debug)]
struct HubState {
    state: ServiceState,
    send_queues: SendQueues,
    /// The deadline for which the timer task waits.
    armed: Option<DateTime<Utc>>,
    /// Why the application has ended.
    end: Option<HubEnd>,
}

/// Why an application ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HubEnd {
    /// The server stops.
    Shutdown,
    /// The application was deleted.
    Deleted,
}

impl HubEnd {
    /// The code and the reason with which its connections are closed.
    pub(crate) const fn close_frame(self) -> (u16, &'static str) {
        match self {
            Self::Shutdown => (CLOSE_GOING_AWAY, "the server is shutting down"),
            Self::Deleted => (CLOSE_NORMAL, "the application was deleted"),
        }
    }
}

impl Hub {
    /// A service with the users and channels of the options.
    pub(crate) fn new(options: MockOptions, seed: u64) -> Result<Self, FixtureError> {
        let clock = Clock::default();
        start_clock(&clock, &options);
        let mut state = ServiceState::new(options.rules.clone(), seed);
        state.load(&options.fixture, clock.now())?;
        state.drain();
        Ok(Self {
            inner: Mutex::new(HubState {
                state,
                send_queues: SendQueues::default(),
                armed: None,
                end: None,
            }),
            clock,
            replay: options.replay.clone().map(TrafficReplay::new),
            options,
            rate_limiter: Mutex::default(),
            faults: FaultInjector::default(),
            traffic_log: TrafficLog::default(),
            scenario_runs: ScenarioRuns::default(),
            ending: Notify::new(),
            rearm: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HubState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a function to the state, and sends the events that result.
    pub(crate) fn with<R>(&self, run: impl FnOnce(&mut ServiceState, DateTime<Utc>) -> R) -> R {
        self.within(|inner, now, _| run(&mut inner.state, now))
    }

    fn within<R>(
        &self,
        run: impl FnOnce(&mut HubState, DateTime<Utc>, &mut WokenQueues) -> R,
    ) -> R {
        let mut woken = Vec::new();
        let mut inner = self.lock();
        // Read under the lock, so that the order of times is the order of changes.
        let now = self.clock.now();
        let result = run(&mut inner, now, &mut woken);
        inner.publish(now, &mut woken);
        let next = inner.state.next_deadline();
        let earlier = next.is_some() && inner.armed.is_none_or(|armed| next < Some(armed));
        if earlier {
            inner.armed = next;
        }
        drop(inner);
        for send_queue in woken {
            send_queue.wake();
        }
        if earlier {
            self.rearm.notify_one();
        }
        result
    }

    /// Carries out an operation.
    pub(crate) fn apply(
        &self,
        caller: &Caller,
        request: OperationRequest,
    ) -> Result<Reply, Rejection> {
        self.with(|state, now| state.apply(now, caller, request))
    }

    /// Counts a request. Rejects it if a rate limit is reached.
    pub(crate) fn count_request(
        &self,
        bucket: RateLimitBucket,
        user: Option<&str>,
    ) -> (RateLimitStatus, Result<(), Rejection>) {
        let mode = self.options.rules.rate_limit;
        self.rate_limiter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .count_request(self.clock.now(), mode, bucket, user)
    }

    /// The state of a rate limit.
    pub(crate) fn rate_limit_status(&self, bucket: RateLimitBucket) -> RateLimitStatus {
        let mode = self.options.rules.rate_limit;
        self.rate_limiter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .status(self.clock.now(), mode, bucket)
    }

    /// Whether unsigned tokens are accepted.
    pub(crate) fn accepts_development_tokens(&self) -> bool {
        self.lock().state.app().disable_auth_checks
    }

    /// The queue of a long poll's connection, for a caller who owns it. A WebSocket reads its queue itself.
    pub(crate) fn send_queue(
        &self,
        caller: &Caller,
        connection_id: &str,
    ) -> Option<(ConnectionKey, Arc<SendQueue>)> {
        self.within(|inner, now, _| {
            let key = inner.state.own_long_poll(caller, connection_id)?;
            inner.state.record_activity(now, key);
            Some((key, inner.send_queues.get(&key)?.clone()))
        })
    }

    /// Opens a connection and its queue, which contains the first frame.
    pub(crate) fn connect(
        &self,
        caller: &Caller,
        request: &ConnectRequest,
    ) -> Result<(ConnectionKey, Arc<SendQueue>), Rejection> {
        let rules = &self.options.rules;
        let bounds = QueueLimits {
            frames: rules.queue_frames,
            bytes: rules.queue_bytes,
        };
        let send_queue = Arc::new(SendQueue::new(bounds, request.version));
        self.within(|inner, now, _| {
            let key = inner.state.connect(now, caller, request)?;
            inner.send_queues.insert(key, send_queue.clone());
            if let Some(end) = inner.end {
                let (code, reason) = end.close_frame();
                inner.state.close(now, key, code, reason);
            }
            Ok((key, send_queue))
        })
    }

    /// The user of a connection.
    pub(crate) fn socket_identity(&self, key: ConnectionKey) -> Option<SocketIdentity> {
        let inner = self.lock();
        Some(SocketIdentity {
            connection: inner.state.connection_id(key)?.into(),
            user: inner.state.owner(key)?.into(),
        })
    }

    /// Adds faults, and applies those that need no frame to open sockets.
    pub(crate) fn add_faults(&self, specs: Vec<FaultSpec>) -> Result<Vec<String>, Rejection> {
        let added = self.faults.add(specs)?;
        let inner = self.lock();
        let mut keys: Vec<&ConnectionKey> = inner.send_queues.keys().collect();
        keys.sort_unstable();
        for fault in added.iter().filter(|fault| fault.now) {
            for key in &keys {
                if let Some(user) = inner.state.owner(**key)
                    && let Some(kind) = self.faults.socket(&fault.id, user)
                    && let Some(send_queue) = inner.send_queues.get(key)
                {
                    send_queue.inject_fault(kind);
                }
            }
        }
        Ok(added.into_iter().map(|fault| fault.id).collect())
    }

    /// Whether the application has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    /// Waits until the application ends, and says why.
    pub(crate) async fn ended(&self) -> HubEnd {
        loop {
            let ending = self.ending.notified();
            let end = self.lock().end;
            if let Some(end) = end {
                return end;
            }
            ending.await;
        }
    }

    /// Removes a connection whose transport has ended.
    pub(crate) fn disconnect(&self, key: ConnectionKey) {
        self.within(|inner, now, _| {
            inner.send_queues.remove(&key);
            inner.state.disconnect(now, key);
        });
    }

    /// Resets state, clock and faults to the start. Closes every connection.
    pub(crate) fn reset(&self) {
        self.faults.clear();
        self.traffic_log.clear();
        if let Some(replay) = &self.replay {
            replay.reset();
        }
        self.set_clock(|clock| {
            clock.reset();
            start_clock(clock, &self.options);
        });
        self.replace(&self.options.fixture, "the state was reset")
            .expect("the same fixture was loaded at the start");
    }

    /// Replaces the state by a fixture. Closes every connection.
    ///
    /// # Errors
    ///
    /// The fixture breaks a rule of the service. Then nothing is changed.
    pub(crate) fn restore(&self, fixture: &Fixture) -> Result<(), FixtureError> {
        ServiceState::new(self.options.rules.clone(), 0).load(fixture, self.clock.now())?;
        self.replace(fixture, "the state was replaced")
    }

    fn replace(&self, fixture: &Fixture, reason: &str) -> Result<(), FixtureError> {
        self.within(|inner, now, woken| {
            inner.close_all(now, CLOSE_GOING_AWAY, reason);
            inner.publish(now, woken);
            inner.state.restart();
            let loaded = inner.state.load(fixture, now);
            inner.state.drain();
            loaded
        })
    }

    /// Ends the application: closes all present and future connections. Returns how many are open.
    pub(crate) fn end(&self, end: HubEnd) -> usize {
        let closed = self.within(|inner, now, _| {
            inner.end = Some(end);
            let (code, reason) = end.close_frame();
            inner.close_all(now, code, reason)
        });
        self.traffic_log.close();
        self.ending.notify_waiters();
        closed
    }

    /// Changes the clock, and processes everything that has become due.
    pub(crate) fn set_clock(&self, change: impl FnOnce(&Clock)) {
        change(&self.clock);
        self.with(ServiceState::tick);
        self.rearm.notify_one();
        if let Some(replay) = &self.replay {
            replay.wake();
        }
    }

    /// Processes deadlines as they become due, for ever.
    pub(crate) async fn tick(&self) {
        loop {
            let next = {
                let mut inner = self.lock();
                inner.armed = inner.state.next_deadline();
                inner.armed
            };
            let wait = next.and_then(|next| self.clock.until(next));
            tokio::select! {
                () = self.rearm.notified() => continue,
                () = sleep_until(wait.map(|wait| Instant::now() + wait.min(TIMER_WAIT_MAX))) => {}
            }
            self.with(ServiceState::tick);
        }
    }
}

/// Stops a clock that has not been changed, if the options say so.
fn start_clock(clock: &Clock, options: &MockOptions) {
    if let Some(time) = options.frozen_at {
        clock.freeze();
        clock.set(time);
    }
}

/// The close code for a server that stops: clients reconnect later.
const CLOSE_GOING_AWAY: u16 = 1001;
/// The close code for a client that reads too slowly.
const CLOSE_TRY_AGAIN_LATER: u16 = 1013;

/// The longest single wait, because the system's clock may be changed meanwhile.
const TIMER_WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(3600);

impl HubState {
    /// Puts the state's deliveries into queues. A connection whose queue is full is closed, which can cause further
    /// deliveries.
    fn publish(&mut self, now: DateTime<Utc>, woken: &mut WokenQueues) {
        loop {
            let mut slow = Vec::new();
            for Delivery {
                connections,
                signal,
            } in self.state.drain()
            {
                let (farewell, at_once) = match signal {
                    Signal::Event(event) => {
                        queue_event(&self.send_queues, event, &connections, woken, &mut slow);
                        continue;
                    }
                    Signal::Cut => {
                        let code = CLOSE_ABNORMAL;
                        let reason = "lost".into();
                        (CloseReason { code, reason }, true)
                    }
                    Signal::Close { code, reason } => (CloseReason { code, reason }, false),
                };
                for connection in connections {
                    if let Some(send_queue) = self.send_queues.remove(&connection) {
                        send_queue.end(farewell.clone(), at_once);
                        woken.push(send_queue);
                    }
                }
            }
            if slow.is_empty() {
                return;
            }
            for connection in slow {
                self.send_queues.remove(&connection);
                self.state.disconnect(now, connection);
            }
        }
    }

    /// Closes every connection. Returns how many there are.
    fn close_all(&mut self, now: DateTime<Utc>, code: u16, reason: &str) -> usize {
        let mut keys: Vec<ConnectionKey> = self.send_queues.keys().copied().collect();
        keys.sort_unstable();
        for key in &keys {
            self.state.close(now, *key, code, reason);
        }
        keys.len()
    }
}

/// Puts an event into the queues of its receivers. A connection whose queue is full is closed and added
/// to `slow`.
fn queue_event(
    send_queues: &SendQueues,
    event: Bytes,
    connections: &[ConnectionKey],
    woken: &mut WokenQueues,
    slow: &mut Vec<ConnectionKey>,
) {
    let mut frames = EventFrames::new(event);
    for connection in connections {
        let Some(send_queue) = send_queues.get(connection) else {
            continue;
        };
        match send_queue.push(frames.get(send_queue.version)) {
            PushOutcome::Wake => woken.push(send_queue.clone()),
            PushOutcome::Queued | PushOutcome::Ended => {}
            PushOutcome::Full => {
                let code = CLOSE_TRY_AGAIN_LATER;
                let reason = "the client reads too slowly".into();
                send_queue.end(CloseReason { code, reason }, true);
                woken.push(send_queue.clone());
                slow.push(*connection);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::mock::api_version::ApiVersion;
    use crate::mock::encoded_frame::FrameBatch;
    use crate::mock::engine::Transport;

    fn connect(hub: &Hub, id: &str) -> (ConnectionKey, Arc<SendQueue>) {
        let caller = Caller::User {
            id: id.to_owned(),
            issued_at: None,
        };
        let request = ConnectRequest {
            user_id: None,
            details: Map::new(),
            carrier: Transport::Socket,
            version: ApiVersion::V1,
            token_expires: None,
        };
        hub.connect(&caller, &request).unwrap()
    }

    fn subscribe(hub: &Hub, id: &str, key: ConnectionKey, to: &str) {
        let connection = hub.with(|state, _| state.connection_id(key).unwrap().to_owned());
        let body: Map<String, Value> = serde_json::from_value(json!({
            "filter_conditions": {"id": to}, "presence": true, "connection_id": connection,
        }))
        .unwrap();
        let caller = Caller::User {
            id: id.to_owned(),
            issued_at: None,
        };
        hub.apply(&caller, OperationRequest::new("GET /users", body))
            .unwrap();
    }

    #[test]
    fn only_the_queue_of_a_long_poll_can_be_polled() {
        let hub = Hub::new(MockOptions::default(), 1).unwrap();
        let caller = Caller::User {
            id: "amy".to_owned(),
            issued_at: None,
        };
        let can_be_polled = |carrier| {
            let request = ConnectRequest {
                user_id: None,
                details: Map::new(),
                carrier,
                version: ApiVersion::V1,
                token_expires: None,
            };
            let (key, _) = hub.connect(&caller, &request).unwrap();
            let id = hub.with(|state, _| state.connection_id(key).unwrap().to_owned());
            hub.send_queue(&caller, &id).is_some()
        };
        assert!(can_be_polled(Transport::LongPoll));
        assert!(!can_be_polled(Transport::Socket));
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_dropped_and_goes_offline() {
        let mut options = MockOptions::default();
        options.rules.queue_frames = 20;
        let hub = Hub::new(options, 1).unwrap();
        let (slow, unread) = connect(&hub, "slow");
        let (watcher, send_queue) = connect(&hub, "watcher");
        connect(&hub, "busy");
        subscribe(&hub, "slow", slow, "busy");
        subscribe(&hub, "watcher", watcher, "slow");
        let mut frames = FrameBatch::default();
        send_queue.take(&mut frames).await;
        frames.clear();
        // Each change of status is one more frame that nobody reads.
        for n in 0..30 {
            let body: Map<String, Value> =
                serde_json::from_value(json!({"users": [{"id": "busy", "set": {"status": n}}]}))
                    .unwrap();
            hub.apply(&Caller::Server, OperationRequest::new("PATCH /users", body))
                .unwrap();
        }
        let farewell = unread.take(&mut frames).await.unwrap();
        assert_eq!(farewell.code, CLOSE_TRY_AGAIN_LATER);
        assert!(frames.is_empty(), "what nobody reads is not kept");
        send_queue.take(&mut frames).await;
        let first = frames.pop().unwrap();
        let heard: Value = serde_json::from_slice(first.text()).unwrap();
        assert_eq!(heard["type"], "user.presence.changed");
        assert_eq!(heard["user"]["id"], "slow");
        assert_eq!(heard["user"]["online"], false);
    }

    #[tokio::test]
    async fn a_connection_during_shutdown_is_closed() {
        let hub = Hub::new(MockOptions::default(), 1).unwrap();
        let (_, early) = connect(&hub, "early");
        hub.end(HubEnd::Shutdown);
        let (_, late) = connect(&hub, "late");
        for send_queue in [early, late] {
            let farewell = send_queue.take(&mut FrameBatch::default()).await.unwrap();
            assert_eq!(farewell.code, CLOSE_GOING_AWAY);
        }
    }
}

//! The one place that locks the state and publishes what it says.
//!
//! A change and the queueing of its events happen under one short lock, so that every connection receives events in the
//! order of the state. Nothing awaits under the lock, and readers are woken after it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use super::clock::Clock;
use super::engine::{Caller, ConnKey, Connect, Delivery, Op, Reply, Signal, State};
use super::error::Reject;
use super::faults::{Faults, Spec};
use super::fixture::{FixtureError, World};
use super::options::Options;
use super::rate_limits::{Budget, Budgets, Platform};
use super::send_queue::{ABNORMAL, Bounds, Farewell, Outbox, Pushed};
use super::traffic_log::{Journal, Party};

/// The running service.
#[derive(Debug)]
pub(crate) struct Hub {
    inner: Mutex<Inner>,
    /// The time that everything here goes by.
    pub(crate) clock: Clock,
    /// How the mock is set up.
    pub(crate) options: Options,
    /// What callers have spent of what they may ask.
    pub(crate) budgets: Mutex<Budgets>,
    /// What goes wrong on purpose.
    pub(crate) faults: Faults,
    /// What has happened on the wire.
    pub(crate) journal: Journal,
    /// Asks the server to end.
    pub(crate) stop: Notify,
    /// Tells that the server is about to end.
    shutting: Notify,
    /// Tells the ticker of an earlier deadline.
    rearm: Notify,
}

#[derive(Debug)]
struct Inner {
    state: State,
    outboxes: HashMap<ConnKey, Arc<Outbox>>,
    /// The deadline that the ticker waits for.
    armed: Option<DateTime<Utc>>,
    closing: bool,
}

impl Hub {
    /// A service with the options' world.
    pub(crate) fn new(options: Options, seed: u64) -> Result<Self, FixtureError> {
        let clock = Clock::default();
        let mut state = State::new(options.rules.clone(), seed);
        state.load(&options.world, clock.now())?;
        state.drain();
        Ok(Self {
            inner: Mutex::new(Inner {
                state,
                outboxes: HashMap::new(),
                armed: None,
                closing: false,
            }),
            clock,
            options,
            budgets: Mutex::default(),
            faults: Faults::default(),
            journal: Journal::default(),
            stop: Notify::new(),
            shutting: Notify::new(),
            rearm: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something on the state, and publishes what it sends.
    pub(crate) fn with<R>(&self, run: impl FnOnce(&mut State, DateTime<Utc>) -> R) -> R {
        self.within(|inner, now| run(&mut inner.state, now))
    }

    fn within<R>(&self, run: impl FnOnce(&mut Inner, DateTime<Utc>) -> R) -> R {
        let mut woken = Vec::new();
        let mut inner = self.lock();
        // Read under the lock, so that the order of times is the order of changes.
        let now = self.clock.now();
        let result = run(&mut inner, now);
        inner.publish(now, &mut woken);
        let next = inner.state.next_deadline();
        let earlier = next.is_some() && inner.armed.is_none_or(|armed| next < Some(armed));
        if earlier {
            inner.armed = next;
        }
        drop(inner);
        for outbox in woken {
            outbox.wake();
        }
        if earlier {
            self.rearm.notify_one();
        }
        result
    }

    /// Does what a caller asks.
    pub(crate) fn apply(&self, caller: &Caller, op: Op) -> Result<Reply, Reject> {
        self.with(|state, now| state.apply(now, caller, op))
    }

    /// Counts a request against its budget.
    pub(crate) fn spend(
        &self,
        platform: Platform,
        endpoint: &'static str,
        user: Option<&str>,
    ) -> (Budget, Result<(), Reject>) {
        let now = self.clock.now();
        self.budgets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spend(now, self.options.rules.rate_limit, platform, endpoint, user)
    }

    /// The state of a budget.
    pub(crate) fn budget(&self, platform: Platform, endpoint: &'static str) -> Budget {
        let now = self.clock.now();
        self.budgets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .look(now, self.options.rules.rate_limit, platform, endpoint)
    }

    /// Whether unsigned tokens are taken.
    pub(crate) fn takes_development_tokens(&self) -> bool {
        self.lock().state.app().disable_auth_checks
    }

    /// The queue of a connection, for a caller to whom it belongs.
    pub(crate) fn outbox(
        &self,
        caller: &Caller,
        connection_id: &str,
    ) -> Option<(ConnKey, Arc<Outbox>)> {
        self.within(|inner, now| {
            let key = inner.state.own_connection(caller, connection_id)?;
            inner.state.heard(now, key);
            Some((key, inner.outboxes.get(&key)?.clone()))
        })
    }

    /// Opens a connection and its queue, in which the first heartbeat waits.
    pub(crate) fn connect(
        &self,
        caller: &Caller,
        request: &Connect,
    ) -> Result<(ConnKey, Arc<Outbox>), Reject> {
        let rules = &self.options.rules;
        let outbox = Arc::new(Outbox::new(Bounds {
            frames: rules.queue_frames,
            bytes: rules.queue_bytes,
        }));
        self.within(|inner, now| {
            let key = inner.state.connect(now, caller, request)?;
            inner.outboxes.insert(key, outbox.clone());
            if inner.closing {
                inner.state.close(now, key, GOING_AWAY, CLOSING);
            }
            Ok((key, outbox))
        })
    }

    /// Whose a connection is.
    pub(crate) fn party(&self, key: ConnKey) -> Option<Party> {
        let inner = self.lock();
        Some(Party {
            connection: inner.state.connection_id(key)?.into(),
            user: inner.state.owner(key)?.into(),
        })
    }

    /// Puts faults into force, and brings those that do not wait for a frame to the sockets that are open.
    pub(crate) fn add_faults(&self, specs: Vec<Spec>) -> Result<Vec<String>, Reject> {
        let added = self.faults.add(specs)?;
        let inner = self.lock();
        let mut keys: Vec<&ConnKey> = inner.outboxes.keys().collect();
        keys.sort_unstable();
        for fault in added.iter().filter(|fault| fault.now) {
            for key in &keys {
                if let Some(user) = inner.state.owner(**key)
                    && let Some(kind) = self.faults.socket(&fault.id, user)
                    && let Some(outbox) = inner.outboxes.get(key)
                {
                    outbox.strike(kind);
                }
            }
        }
        Ok(added.into_iter().map(|fault| fault.id).collect())
    }

    /// Waits until the server is about to end.
    pub(crate) async fn closing(&self) {
        loop {
            let closing = self.shutting.notified();
            if self.lock().closing {
                return;
            }
            closing.await;
        }
    }

    /// Forgets a connection whose carrier is gone.
    pub(crate) fn disconnect(&self, key: ConnKey) {
        self.within(|inner, now| {
            inner.outboxes.remove(&key);
            inner.state.disconnect(now, key);
        });
    }

    /// Puts everything back to how it was at the start, the clock and the faults as well; every connection is closed.
    pub(crate) fn reset(&self) {
        self.faults.clear();
        self.journal.clear();
        self.set_clock(Clock::reset);
        self.replace(&self.options.world, "the world was reset")
            .expect("the same world was loaded at the start");
    }

    /// Puts another world in the place of this one; every connection is closed.
    ///
    /// # Errors
    ///
    /// It breaks a rule of the service. Then nothing has happened.
    pub(crate) fn restore(&self, world: &World) -> Result<(), FixtureError> {
        State::new(self.options.rules.clone(), 0).load(world, self.clock.now())?;
        self.replace(world, "the world was replaced")
    }

    fn replace(&self, world: &World, reason: &str) -> Result<(), FixtureError> {
        self.within(|inner, now| {
            inner.close_all(now, reason);
            let mut woken = Vec::new();
            inner.publish(now, &mut woken);
            inner.state.restart();
            let loaded = inner.state.load(world, now);
            inner.state.drain();
            for outbox in woken {
                outbox.wake();
            }
            loaded
        })
    }

    /// Closes every connection, and every one that is still to come, with a code that asks clients to come back.
    pub(crate) fn shut_down(&self) {
        self.within(|inner, now| {
            inner.closing = true;
            inner.close_all(now, CLOSING);
        });
        self.journal.close();
        self.shutting.notify_waiters();
    }

    /// Touches the clock, and does at once what has become due.
    pub(crate) fn set_clock(&self, change: impl FnOnce(&Clock)) {
        change(&self.clock);
        self.with(State::tick);
        self.rearm.notify_one();
    }

    /// Runs the rules that depend on time, for ever.
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
                () = sleep(wait) => {}
            }
            self.with(State::tick);
        }
    }
}

/// The close code that says "come back later".
const GOING_AWAY: u16 = 1001;
/// The close code for a connection that cannot keep up.
const TRY_AGAIN: u16 = 1013;
const CLOSING: &str = "the server is shutting down";

async fn sleep(wait: Option<std::time::Duration>) {
    match wait {
        // Never wait for longer than an hour at a time: the system's clock may be set meanwhile.
        Some(wait) => tokio::time::sleep(wait.min(std::time::Duration::from_secs(3600))).await,
        None => std::future::pending().await,
    }
}

impl Inner {
    /// Hands out what the state sends. A connection that cannot take it is closed, of which others may hear, and so on.
    fn publish(&mut self, now: DateTime<Utc>, woken: &mut Vec<Arc<Outbox>>) {
        loop {
            let mut slow = Vec::new();
            for Delivery { connection, signal } in self.state.drain() {
                match signal {
                    Signal::Frame(frame) => {
                        let Some(outbox) = self.outboxes.get(&connection) else {
                            continue;
                        };
                        match outbox.push(frame) {
                            Pushed::Wake => woken.push(outbox.clone()),
                            Pushed::Queued | Pushed::Ended => {}
                            Pushed::Full => {
                                let reason = "the client reads too slowly".into();
                                let code = TRY_AGAIN;
                                outbox.end(Farewell { code, reason }, true);
                                woken.push(outbox.clone());
                                slow.push(connection);
                            }
                        }
                    }
                    Signal::Cut => {
                        if let Some(outbox) = self.outboxes.remove(&connection) {
                            let code = ABNORMAL;
                            let reason = "lost".into();
                            outbox.end(Farewell { code, reason }, true);
                            woken.push(outbox);
                        }
                    }
                    Signal::Close { code, reason } => {
                        if let Some(outbox) = self.outboxes.remove(&connection) {
                            outbox.end(Farewell { code, reason }, false);
                            woken.push(outbox);
                        }
                    }
                }
            }
            if slow.is_empty() {
                return;
            }
            for connection in slow {
                self.outboxes.remove(&connection);
                self.state.disconnect(now, connection);
            }
        }
    }

    fn close_all(&mut self, now: DateTime<Utc>, reason: &str) {
        let mut keys: Vec<ConnKey> = self.outboxes.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            self.state.close(now, key, GOING_AWAY, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::mock::engine::{Carrier, read};

    fn connect(hub: &Hub, id: &str) -> (ConnKey, Arc<Outbox>) {
        let caller = Caller::User {
            id: id.to_owned(),
            issued_at: None,
        };
        let request = Connect {
            user_id: None,
            details: Map::new(),
            carrier: Carrier::Socket,
            token_expires: None,
        };
        hub.connect(&caller, &request).unwrap()
    }

    fn subscribe(hub: &Hub, id: &str, key: ConnKey, to: &str) {
        let connection = hub.with(|state, _| state.connection_id(key).unwrap().to_owned());
        let body: Map<String, Value> = serde_json::from_value(json!({
            "filter_conditions": {"id": to}, "presence": true, "connection_id": connection,
        }))
        .unwrap();
        let caller = Caller::User {
            id: id.to_owned(),
            issued_at: None,
        };
        hub.apply(&caller, Op::QueryUsers(read(body).unwrap()))
            .unwrap();
    }

    #[tokio::test]
    async fn a_reader_who_is_too_slow_is_dropped_and_others_hear_of_it() {
        let mut options = Options::default();
        options.rules.queue_frames = 20;
        let hub = Hub::new(options, 1).unwrap();
        let (slow, unread) = connect(&hub, "slow");
        let (watcher, outbox) = connect(&hub, "watcher");
        connect(&hub, "busy");
        subscribe(&hub, "slow", slow, "busy");
        subscribe(&hub, "watcher", watcher, "slow");
        let mut frames = Vec::new();
        outbox.take(&mut frames).await;
        frames.clear();
        // Each change of status is one more frame that nobody reads.
        for n in 0..30 {
            let body: Map<String, Value> =
                serde_json::from_value(json!({"users": [{"id": "busy", "set": {"status": n}}]}))
                    .unwrap();
            hub.apply(&Caller::Server, Op::PatchUsers(read(body).unwrap()))
                .unwrap();
        }
        let farewell = unread.take(&mut frames).await.unwrap();
        assert_eq!(farewell.code, TRY_AGAIN);
        assert!(frames.is_empty(), "what nobody reads is not kept");
        outbox.take(&mut frames).await;
        let heard: Value = serde_json::from_slice(&frames[0]).unwrap();
        assert_eq!(heard["type"], "user.presence.changed");
        assert_eq!(heard["user"]["id"], "slow");
        assert_eq!(heard["user"]["online"], false);
    }

    #[tokio::test]
    async fn whoever_comes_while_the_server_goes_is_sent_away() {
        let hub = Hub::new(Options::default(), 1).unwrap();
        let (_, early) = connect(&hub, "early");
        hub.shut_down();
        let (_, late) = connect(&hub, "late");
        for outbox in [early, late] {
            let farewell = outbox.take(&mut Vec::new()).await.unwrap();
            assert_eq!(farewell.code, GOING_AWAY);
        }
    }
}

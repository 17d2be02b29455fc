//! The fault registry: decides which fault applies to which request or frame, by counting and by seeded chance.
//!
//! No clock and no I/O. Each fault has its own seed. So whether it applies to the fifth matching frame is the same in
//! every run, whatever else happens.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::fault::{Fault, FaultKind, FaultSpec, RequestFault, SocketFault};
use super::matching::{FrameFacts, RequestFacts};
use crate::mock::error::Rejection;

/// An active fault.
#[derive(Debug)]
struct RegisteredFault {
    id: String,
    spec: FaultSpec,
    fault: Fault,
    chance: SmallRng,
    /// How many requests or frames matched.
    matched: u64,
    /// To how many of them it applied.
    fired: u64,
}

impl RegisteredFault {
    fn is_spent(&self) -> bool {
        self.fault.now || self.fault.count.is_some_and(|count| self.fired >= count)
    }

    /// Counts a match, and decides whether the fault applies.
    fn applies(&mut self) -> bool {
        self.matched += 1;
        if self.matched <= self.fault.after {
            return false;
        }
        let probability = self.fault.probability;
        let applies = probability >= 1.0 || self.chance.random_bool(probability);
        self.fired += u64::from(applies);
        applies
    }
}

/// A fault with its counters, as the control API shows it.
#[derive(Debug, Serialize)]
pub(crate) struct FaultStatus {
    id: String,
    #[serde(flatten)]
    spec: FaultSpec,
    matched: u64,
    fired: u64,
    active: bool,
}

impl FaultStatus {
    /// Whether it can still apply.
    pub(crate) const fn is_active(&self) -> bool {
        self.active
    }
}

/// The active faults, oldest first.
#[derive(Debug, Default)]
pub(crate) struct FaultRegistry {
    entries: Vec<RegisteredFault>,
    named: u64,
}

impl FaultRegistry {
    /// Adds a fault and returns its name.
    ///
    /// # Errors
    ///
    /// The fault is invalid.
    pub(crate) fn add(&mut self, spec: FaultSpec) -> Result<(String, Fault), Rejection> {
        let fault = spec.read()?;
        self.named += 1;
        let id = format!("f{}", self.named);
        self.entries.push(RegisteredFault {
            id: id.clone(),
            spec,
            chance: SmallRng::seed_from_u64(fault.seed),
            fault: fault.clone(),
            matched: 0,
            fired: 0,
        });
        Ok((id, fault))
    }

    /// Removes all faults. Their names are not used again.
    pub(crate) fn clear(&mut self) -> usize {
        let cleared = self.entries.len();
        self.entries.clear();
        cleared
    }

    /// Removes the fault with this name, if there is one.
    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.id != id);
        self.entries.len() < before
    }

    /// All faults.
    pub(crate) fn list(&self) -> Vec<FaultStatus> {
        self.entries.iter().map(RegisteredFault::listed).collect()
    }

    /// The fault with this name.
    pub(crate) fn listed(&self, id: &str) -> Option<FaultStatus> {
        let entry = self.entries.iter().find(|entry| entry.id == id)?;
        Some(entry.listed())
    }

    /// Whether faults can still apply to any request, and to any frame.
    pub(crate) fn watches(&self) -> (bool, bool) {
        let any = |requests: bool| {
            self.entries.iter().any(|entry| {
                matches!(entry.fault.kind, FaultKind::Request(_)) == requests && !entry.is_spent()
            })
        };
        (any(true), any(false))
    }

    /// The fault that applies to a request: the first one that matches and is selected. Later faults do not count it.
    pub(crate) fn request(&mut self, asked: &RequestFacts<'_>) -> Option<(String, RequestFault)> {
        self.entries.iter_mut().find_map(|entry| {
            let FaultKind::Request(fault) = &entry.fault.kind else {
                return None;
            };
            if entry.is_spent() || !entry.fault.matching.fits_request(asked) {
                return None;
            }
            let fault = fault.clone();
            entry.applies().then(|| (entry.id.clone(), fault))
        })
    }

    /// The fault that applies to a frame: the first one that matches and is selected. Later faults do not count it.
    pub(crate) fn frame(&mut self, sent: &FrameFacts<'_>) -> Option<(String, SocketFault)> {
        self.entries.iter_mut().find_map(|entry| {
            let FaultKind::Socket(fault) = &entry.fault.kind else {
                return None;
            };
            if entry.is_spent() || !entry.fault.matching.fits_frame(sent) {
                return None;
            }
            // A health check can be dropped only after the first one.
            if *fault == SocketFault::Mute && (sent.first || sent.event != "health.check") {
                return None;
            }
            let fault = fault.clone();
            entry.applies().then(|| (entry.id.clone(), fault))
        })
    }

    /// Whether a fault that was just added applies to a socket that is open now.
    pub(crate) fn socket(&mut self, id: &str, user: &str) -> Option<SocketFault> {
        let entry = self.entries.iter_mut().find(|entry| entry.id == id)?;
        let FaultKind::Socket(fault) = &entry.fault.kind else {
            return None;
        };
        if entry.fault.count.is_some_and(|count| entry.fired >= count)
            || !entry.fault.matching.fits_user(user)
        {
            return None;
        }
        let fault = fault.clone();
        entry.applies().then_some(fault)
    }
}

impl RegisteredFault {
    fn listed(&self) -> FaultStatus {
        FaultStatus {
            id: self.id.clone(),
            spec: self.spec.clone(),
            matched: self.matched,
            fired: self.fired,
            active: !self.is_spent(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn registry(faults: &[Value]) -> FaultRegistry {
        let mut registry = FaultRegistry::default();
        for fault in faults {
            let spec = serde_json::from_value(fault.clone()).unwrap();
            registry.add(spec).unwrap();
        }
        registry
    }

    fn frame(registry: &mut FaultRegistry, event: &str) -> Option<String> {
        let sent = FrameFacts {
            user: "john",
            event,
            first: false,
        };
        registry.frame(&sent).map(|(id, _)| id)
    }

    #[test]
    fn a_fault_spares_the_first_and_ends_after_its_count() {
        let mut registry = registry(&[json!({"kind": "duplicate", "after": 2, "count": 2})]);
        let applied: Vec<bool> = (0..6)
            .map(|_| frame(&mut registry, "x").is_some())
            .collect();
        assert_eq!(applied, [false, false, true, true, false, false]);
        assert_eq!(registry.watches(), (false, false));
        let listed = serde_json::to_value(registry.list()).unwrap();
        assert_eq!(
            listed,
            json!([{"id": "f1", "kind": "duplicate", "after": 2, "count": 2, "matched": 4, "fired": 2, "active": false}])
        );
    }

    #[test]
    fn chance_comes_from_the_seed_alone() {
        let applied = |seed: u64| -> Vec<bool> {
            let mut registry = registry(&[
                json!({"kind": "late", "event": "other", "probability": 0.5}),
                json!({"kind": "duplicate", "event": "x", "probability": 0.3, "seed": seed}),
            ]);
            (0..200)
                .map(|place| {
                    // What does not fit does not move the dice.
                    if place % 3 == seed % 3 {
                        frame(&mut registry, "other");
                    }
                    frame(&mut registry, "x").is_some()
                })
                .collect()
        };
        assert_eq!(applied(7), applied(7));
        assert_ne!(applied(7), applied(8));
        let hits = applied(7).iter().filter(|applied| **applied).count();
        assert!((30..=90).contains(&hits), "{hits} of 200");
    }

    #[test]
    fn the_first_fault_that_fits_wins() {
        let mut registry = registry(&[
            json!({"kind": "drop", "user": "jack"}),
            json!({"kind": "late", "event": "user.*", "count": 1}),
            json!({"kind": "duplicate"}),
            json!({"kind": "status", "path": "/users"}),
        ]);
        assert_eq!(frame(&mut registry, "health.check").as_deref(), Some("f3"));
        assert_eq!(frame(&mut registry, "user.updated").as_deref(), Some("f2"));
        assert_eq!(frame(&mut registry, "user.updated").as_deref(), Some("f3"));
        assert!(registry.remove("f3") && !registry.remove("f3"));
        assert_eq!(frame(&mut registry, "user.updated"), None);
        let asked = |path| RequestFacts {
            method: "GET",
            path,
            user: None,
        };
        assert!(registry.request(&asked("/users")).is_some());
        assert!(registry.request(&asked("/channels")).is_none());
        assert_eq!(registry.clear(), 3);
        assert_eq!(registry.watches(), (false, false));
    }

    #[test]
    fn only_answers_to_pings_are_muted() {
        let mut registry = registry(&[json!({"kind": "mute"})]);
        assert_eq!(frame(&mut registry, "user.updated"), None);
        let hello = FrameFacts {
            user: "john",
            event: "health.check",
            first: true,
        };
        assert_eq!(registry.frame(&hello), None);
        assert!(frame(&mut registry, "health.check").is_some());
    }

    #[test]
    fn a_fault_for_now_leaves_later_frames_alone() {
        let mut registry =
            registry(&[json!({"kind": "drop", "now": true, "user": "j*", "count": 1})]);
        assert_eq!(registry.socket("f1", "amy"), None);
        assert_eq!(registry.socket("f1", "john"), Some(SocketFault::Drop));
        assert_eq!(registry.socket("f1", "jack"), None);
        assert_eq!(frame(&mut registry, "x"), None);
    }
}

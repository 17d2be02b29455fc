//! Fault injection: scripted failures of requests and sockets.
//!
//! [`fault`] describes faults as data. [`matching`] decides which requests and frames a fault can apply to.
//! [`registry`] selects the ones that it does apply to, by counts and seeds. [`frame_queue`] applies order and timing
//! to frames. None of them does I/O: the transport asks, and acts on the answer.

mod fault;
mod frame_queue;
mod matching;
mod registry;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use self::fault::{FaultKind, FaultResponse, FaultSpec, RequestFault, SocketFault};
pub(crate) use self::frame_queue::{FrameAction, FrameQueue, half};
pub(crate) use self::matching::{FrameFacts, RequestFacts};
use self::registry::FaultRegistry;
pub(crate) use self::registry::FaultStatus;
use super::error::Rejection;

/// The active faults, shared by all requests and sockets.
#[derive(Debug, Default)]
pub(crate) struct FaultInjector {
    book: Mutex<FaultRegistry>,
    /// Whether a fault can apply to any request. Every request reads this, so it must be cheap.
    requests: AtomicBool,
    /// Whether a fault can apply to any frame.
    frames: AtomicBool,
}

impl FaultInjector {
    fn change<R>(&self, change: impl FnOnce(&mut FaultRegistry) -> R) -> R {
        let mut book = self.lock();
        let result = change(&mut book);
        let (requests, frames) = book.watches();
        self.requests.store(requests, Ordering::Release);
        self.frames.store(frames, Ordering::Release);
        result
    }

    fn lock(&self) -> MutexGuard<'_, FaultRegistry> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds faults, either all or none, and returns their names. The caller applies those for open sockets.
    ///
    /// # Errors
    ///
    /// One of the faults is invalid.
    pub(crate) fn add(&self, specs: Vec<FaultSpec>) -> Result<Vec<AddedFault>, Rejection> {
        for spec in &specs {
            spec.read()?;
        }
        self.change(|book| {
            specs
                .into_iter()
                .map(|spec| {
                    let (id, fault) = book.add(spec)?;
                    let now = match fault.kind {
                        FaultKind::Socket(kind) => fault.now && kind.needs_no_frame(),
                        FaultKind::Request(_) => false,
                    };
                    Ok(AddedFault { id, now })
                })
                .collect()
        })
    }

    /// Removes all faults and returns their number.
    pub(crate) fn clear(&self) -> usize {
        self.change(FaultRegistry::clear)
    }

    /// Removes the fault with this name, if there is one.
    pub(crate) fn remove(&self, id: &str) -> bool {
        self.change(|book| book.remove(id))
    }

    /// All faults with their counters.
    pub(crate) fn list(&self) -> Vec<FaultStatus> {
        self.lock().list()
    }

    /// A fault with its counters.
    pub(crate) fn listed(&self, id: &str) -> Option<FaultStatus> {
        self.lock().listed(id)
    }

    /// The fault that applies to a request.
    pub(crate) fn request<'a>(
        &self,
        facts: impl FnOnce() -> RequestFacts<'a>,
    ) -> Option<(String, RequestFault)> {
        if !self.requests.load(Ordering::Acquire) {
            return None;
        }
        let facts = facts();
        self.change(|registry| registry.request(&facts))
    }

    /// Whether a fault can apply to any frame.
    pub(crate) fn has_frame_faults(&self) -> bool {
        self.frames.load(Ordering::Acquire)
    }

    /// The fault that applies to a frame.
    pub(crate) fn frame(&self, sent: &FrameFacts<'_>) -> Option<(String, SocketFault)> {
        if !self.has_frame_faults() {
            return None;
        }
        self.change(|book| book.frame(sent))
    }

    /// Whether a fault that was just added applies to a socket that is open now.
    pub(crate) fn socket(&self, id: &str, user: &str) -> Option<SocketFault> {
        self.change(|book| book.socket(id, user))
    }
}

/// A fault that was added.
#[derive(Debug)]
pub(crate) struct AddedFault {
    /// Its name.
    pub(crate) id: String,
    /// Whether it applies to the sockets that are open now.
    pub(crate) now: bool,
}

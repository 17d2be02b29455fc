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
    /// Whether any request can be struck: looked at by every request, so it must cost nothing.
    requests: AtomicBool,
    /// The same for frames.
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

    /// Puts faults into force, all or none, and tells their names. Those for sockets that are open now are still to be
    /// brought to them.
    ///
    /// # Errors
    ///
    /// One of them makes no sense.
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

    /// Ends all faults, and says how many there were.
    pub(crate) fn clear(&self) -> usize {
        self.change(FaultRegistry::clear)
    }

    /// Ends one fault, if there is one of that name.
    pub(crate) fn remove(&self, id: &str) -> bool {
        self.change(|book| book.remove(id))
    }

    /// All faults and what they have done.
    pub(crate) fn list(&self) -> Vec<FaultStatus> {
        self.lock().list()
    }

    /// One fault and what it has done.
    pub(crate) fn listed(&self, id: &str) -> Option<FaultStatus> {
        self.lock().listed(id)
    }

    /// What strikes a request.
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

    /// Whether any frame can be struck.
    pub(crate) fn has_frame_faults(&self) -> bool {
        self.frames.load(Ordering::Acquire)
    }

    /// What strikes a frame.
    pub(crate) fn frame(&self, sent: &FrameFacts<'_>) -> Option<(String, SocketFault)> {
        if !self.has_frame_faults() {
            return None;
        }
        self.change(|book| book.frame(sent))
    }

    /// Whether a socket that is open now is struck by a fault that was just put into force.
    pub(crate) fn socket(&self, id: &str, user: &str) -> Option<SocketFault> {
        self.change(|book| book.socket(id, user))
    }
}

/// A fault that was put into force.
#[derive(Debug)]
pub(crate) struct AddedFault {
    /// Its name.
    pub(crate) id: String,
    /// Whether it is to be brought to the sockets that are open now.
    pub(crate) now: bool,
}

//! What all request handlers share.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::super::hub::Hub;

/// What a request handler shares with the server.
#[derive(Debug, Clone)]
pub(crate) struct RouteContext {
    /// The running service.
    pub(crate) hub: Arc<Hub>,
    /// Held by every session, so that the server can wait for the last one.
    pub(crate) alive: mpsc::Sender<()>,
}
